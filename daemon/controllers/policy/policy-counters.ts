/** Packets by policy, as the kernel has counted them. Reads the kernel's counters only when asked. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { ProfileCounts } from "../../../pkg/policy/program.ts";
import type { PolicyTables } from "../../../pkg/policy/tables.ts";

export interface PolicyPackets {
  /** First packets of connections that a rule of the policy matched and allowed. */
  readonly allowed: number;
  /** Packets to or from pods of the policy that it denied, by a rule or because no rule allowed them. */
  readonly denied: number;
}

const NONE: PolicyPackets = { allowed: 0, denied: 0 };

/** Readers within this time share one read of the kernel. */
const FRESH_MS = 1000;

export interface PolicyCountersParts {
  /** Reads the counters of all profiles; empty without a table. */
  readonly read: () => Promise<readonly ProfileCounts[]>;
  readonly tables: Pick<PolicyTables, "profiles">;
  readonly clock: Pick<Clock, "nowMs">;
}

/**
 * Sums over all profiles, which come and go. What a profile counts after the last read and before its removal is lost: a
 * connection or two, because profiles are removed when no pod uses them.
 */
export class PolicyCounters {
  readonly #parts: PolicyCountersParts;
  /** By policy. */
  readonly #packets = new Map<string, PolicyPackets>();
  /** By profile, as of the last read. */
  #last: ReadonlyMap<number, ProfileCounts> = new Map();
  #readMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(parts: PolicyCountersParts) {
    this.#parts = parts;
  }

  /** Rejects with `NetlinkError`. */
  async refresh(): Promise<void> {
    if (this.#parts.clock.nowMs() - this.#readMs < FRESH_MS) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  /** Returns the packets of a policy as of the last `refresh`. */
  of(policy: string): PolicyPackets {
    return this.#packets.get(policy) ?? NONE;
  }

  /** Returns the policies that have packets. */
  names(): readonly string[] {
    return [...this.#packets.keys()];
  }

  /** Forgets the policies for which `isThere` is false. */
  retain(isThere: (policy: string) => boolean): void {
    for (const name of this.#packets.keys()) if (!isThere(name)) this.#packets.delete(name);
  }

  async #read(): Promise<void> {
    const counts = await this.#parts.read();
    for (const profile of counts) this.#add(profile);
    this.#last = new Map(counts.map((profile) => [profile.number, profile]));
    this.#readMs = this.#parts.clock.nowMs();
  }

  #add({ number, denied, steps }: ProfileCounts): void {
    const last = this.#last.get(number);
    const grown = steps.map((step, at) => ({ ...step, packets: growth(step.packets, last?.steps[at]?.packets) }));
    for (const { policies, verdict, packets } of grown) {
      if (verdict === "allow") this.#count(policies, { allowed: packets, denied: 0 });
      else if (verdict === "deny") this.#count(policies, { allowed: 0, denied: packets });
    }
    const byRule = grown.reduce((sum, { verdict, packets }) => sum + (verdict === "deny" ? packets : 0), 0);
    const byNoRule = Math.max(0, growth(denied, last?.denied) - byRule);
    const { policies = [] } = this.#parts.tables.profiles.get(number) ?? {};
    this.#count(policies.filter(isNamespaced), { allowed: 0, denied: byNoRule });
  }

  #count(policies: readonly string[], { allowed, denied }: PolicyPackets): void {
    if (allowed + denied === 0) return;
    for (const policy of policies) {
      const known = this.of(policy);
      this.#packets.set(policy, { allowed: known.allowed + allowed, denied: known.denied + denied });
    }
  }
}

/** A smaller value belongs to a new counter, of a table that was restored. */
function growth(now: number, before = 0): number {
  return now >= before ? now - before : now;
}

/** Only NetworkPolicies deny what no rule matches. */
function isNamespaced(policy: string): boolean {
  return policy.includes("/");
}
