/** Random tables of policies, and changes of them, that are consistent: nothing refers to something that does not exist. */
import { type Address, addressKey, isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import type { Span } from "../../pkg/ip/span.ts";
import type {
  BlockGroup,
  Decision,
  Direction,
  Peers,
  PolicyChange,
  PortClass,
  Profile,
  Step,
  Subject,
  Tier,
  Verdict,
} from "../../pkg/policy/state.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";

/** Returns an integer from 0 to below `limit`. */
export type Random = (limit: number) => number;

/** A generator of random numbers that depends only on its seed (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * limit);
  };
}

/** The addresses of packets and tables. */
export interface World {
  /** Addresses of pods of this node. */
  readonly local: readonly Address[];
  /** Addresses of other pods, and of hosts outside the cluster. */
  readonly others: readonly Address[];
  /** Bounds of ranges; a range begins and ends at one of them, or one address before or after. */
  readonly bounds: readonly Address[];
}

const all = (...texts: string[]) => texts.map((text) => parseAddress(text));

export const SMALL_WORLD: World = {
  local: all("10.244.1.2", "10.244.1.3", "10.244.3.2", "fd00:1::2", "fd00:1::3", "fd00:3::2"),
  others: all("10.244.2.2", "10.244.2.3", "192.0.2.9", "198.51.100.1", "fd00:2::2", "fd00:2::3", "2001:db8::9"),
  bounds: all("0.0.0.0", "10.244.1.3", "10.244.2.2", "192.0.2.9", "255.255.255.255").concat(
    all("::", "fd00:1::2", "fd00:2::3", "2001:db8::9", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
  ),
};

const IDENTITIES = [1, 2, 3, 0x100, 0x7fff_ffff] as const;
const PROTOCOLS = [6, 17, 132] as const;
/** Bounds of port ranges. */
const PORTS = [1, 80, 81, 443, 8080, 65535] as const;
const FIRST_NUMBER = 0x4000_0000;

export class RandomTables {
  readonly tables = new PolicyTables();
  readonly #random: Random;
  readonly #world: World;
  #number = FIRST_NUMBER;

  constructor(random: Random, world: World) {
    this.#random = random;
    this.#world = world;
  }

  /** Makes and applies consistent changes. */
  changes(count: number): PolicyChange[] {
    const changes: PolicyChange[] = [];
    for (let at = 0; at < count; at++) {
      const change = this.#change();
      if (change === undefined) continue;
      this.tables.apply(change);
      changes.push(change);
    }
    return changes;
  }

  #change(): PolicyChange | undefined {
    switch (this.#random(10)) {
      case 0:
      case 1:
        return {
          ...{ kind: "peer", address: this.#pick([...this.#world.local, ...this.#world.others]) },
          identity: this.#maybe(() => this.#pick(IDENTITIES)),
        };
      case 2:
        return { kind: "pods", number: this.#next(), identities: this.#identities() };
      case 3:
        return this.#changeGroup();
      case 4:
        return { kind: "blocks", number: this.#next(), group: this.#blockGroup() };
      case 5:
      case 6:
        return { kind: "profile", number: this.#next(), profile: this.#profile() };
      case 7:
      case 8:
        return { kind: "subject", address: this.#pick(this.#world.local), subject: this.#maybe(() => this.#subject()) };
      default:
        return this.#removal();
    }
  }

  /** New identities of a group, or its removal if no profile uses it. */
  #changeGroup(): PolicyChange | undefined {
    if (this.tables.pods.size === 0) return undefined;
    return { kind: "pods", number: this.#pick([...this.tables.pods.keys()]), identities: this.#identities() };
  }

  #removal(): PolicyChange | undefined {
    const { profiles, subjects, pods, blocks } = this.tables;
    const inUse = new Set([...subjects.values()].flatMap(({ ingress, egress }) => [ingress, egress]));
    const used = [...profiles.values()].flatMap(peersOf);
    const free = [
      ...[...profiles.keys()]
        .filter((number) => !inUse.has(number))
        .map((number): PolicyChange => ({ kind: "profile", number, profile: undefined })),
      ...[...pods.keys()]
        .filter((number) => !used.some((peers) => peers.pods === number))
        .map((number): PolicyChange => ({ kind: "pods", number, identities: undefined })),
      ...[...blocks.keys()]
        .filter((number) => !used.some((peers) => peers.blocks === number))
        .map((number): PolicyChange => ({ kind: "blocks", number, group: undefined })),
    ];
    return free.length === 0 ? undefined : this.#pick(free);
  }

  #next(): number {
    this.#number += 1 + this.#random(5);
    return this.#number;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random(from.length)] as T;
  }

  #maybe<T>(make: () => T): T | undefined {
    return this.#random(4) === 0 ? undefined : make();
  }

  #identities(): ReadonlySet<number> {
    return new Set(IDENTITIES.filter(() => this.#random(2) === 0));
  }

  #blockGroup(): BlockGroup {
    return { 4: this.#spans(4), 6: this.#spans(6) };
  }

  /** Ranges in ascending order without overlaps; some are adjacent. */
  #spans(family: 4 | 6): Span[] {
    const largest = (1n << BigInt(family === 4 ? 32 : 128)) - 1n;
    const starts = this.#world.bounds
      .filter((bound) => bound.family === family)
      .flatMap(({ value }) => [value - 1n, value, value + 1n])
      .filter((value) => value >= 0n && value <= largest)
      .sort((a, b) => (a < b ? -1 : 1));
    const distinct = [...new Set(starts)].filter(() => this.#random(2) === 0);
    const bounds = [...distinct, largest + 1n];
    return distinct.flatMap((first, at) => {
      const last = this.#random(2) === 0 ? first : (bounds[at + 1] ?? first) - 1n;
      return this.#random(2) === 0 ? [{ first, last }] : [];
    });
  }

  #subject(): Subject {
    const of = (direction: Direction) => {
      const numbers = [...this.tables.profiles].filter(([, profile]) => profile.direction === direction);
      return numbers.length === 0 || this.#random(3) === 0 ? undefined : this.#pick(numbers)[0];
    };
    return { ingress: of("ingress"), egress: of("egress") };
  }

  #profile(): Profile {
    const hasRanges = this.#random(2) === 0;
    const decisions = Array.from({ length: 1 + this.#random(3) }, () => this.#decision());
    return {
      direction: this.#random(2) === 0 ? "ingress" : "egress",
      isAudited: this.#random(5) === 0,
      policies: [`default/policy-${this.#random(5)}`],
      ports: this.#random(4) === 0 ? [] : this.#ports(hasRanges, decisions),
      others: this.#decision(),
    };
  }

  #ports(hasRanges: boolean, decisions: readonly Decision[]): PortClass[] {
    return PROTOCOLS.flatMap((protocol) =>
      PORTS.flatMap((first, at): PortClass[] => {
        if (this.#random(2) === 0) return [];
        const last = hasRanges && this.#random(2) === 0 ? (PORTS[at + 1] ?? first + 1) - 1 : first;
        return [{ protocol, first, last, decision: this.#pick(decisions) }];
      }),
    );
  }

  #decision(): Decision {
    const last = this.#tier(this.#random(2) === 0 ? "NetworkPolicy" : "Baseline", false);
    return this.#random(2) === 0 ? [last] : [this.#tier("Admin", true), last];
  }

  #tier(name: Tier["name"], mayPass: boolean): Tier {
    const verdicts: readonly Verdict[] = mayPass ? ["allow", "deny", "pass"] : ["allow", "deny"];
    const steps = Array.from({ length: this.#random(4) }, () => this.#step(verdicts));
    return { name, steps, otherwise: this.#pick(verdicts) };
  }

  #step(verdicts: readonly Verdict[]): Step {
    const policies = [`default/policy-${this.#random(5)}`];
    return { peers: this.#random(8) === 0 ? "everything" : this.#peers(), verdict: this.#pick(verdicts), policies };
  }

  #peers(): Peers {
    const { pods, blocks } = this.tables;
    const group = (numbers: Iterable<number>) => {
      const known = [...numbers];
      return known.length === 0 ? undefined : this.#maybe(() => this.#pick(known));
    };
    return { pods: this.#random(6) === 0 ? "all" : group(pods.keys()), blocks: group(blocks.keys()) };
  }
}

function peersOf({ ports, others }: Profile): Peers[] {
  return [...ports.map(({ decision }) => decision), others].flatMap((decision) =>
    decision.flatMap(({ steps }) => steps.flatMap(({ peers }) => (peers === "everything" ? [] : [peers]))),
  );
}

/** The first packet of a connection. */
export interface Probe {
  readonly from: Address;
  readonly to: Address;
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly port: number;
}

/** IPPROTO_ICMP and IPPROTO_ICMPV6 */
const ICMP = { 4: 1, 6: 58 } as const;

export function randomProbe(random: Random, { local, others }: World): Probe {
  const everyone = [...local, ...others];
  const from = everyone[random(everyone.length)] as Address;
  const same = everyone.filter(({ family }) => family === from.family);
  const to = same[random(same.length)] as Address;
  if (random(6) === 0) return { from, to, protocol: ICMP[from.family], port: 0 };
  const ports = [...PORTS, 2, 442, 9000];
  return { from, to, protocol: PROTOCOLS[random(3)] as number, port: ports[random(ports.length)] as number };
}

/** The verdict for a packet that is forwarded: both sides must allow it, and a pod may reach itself. */
export function verdictFor(tables: PolicyTables, { from, to, protocol, port }: Probe): "allow" | "deny" {
  if (isSameAddress(from, to)) return "allow";
  const side = (direction: Direction, subject: Address, peer: Address) =>
    isAudited(tables, direction, subject) ? "allow" : tables.verdict(direction, subject, peer, protocol, port);
  return side("egress", from, to) === "deny" ? "deny" : side("ingress", to, from);
}

function isAudited({ subjects, profiles }: PolicyTables, direction: Direction, subject: Address): boolean {
  const number = subjects.get(addressKey(subject))?.[direction];
  return number !== undefined && profiles.get(number)?.isAudited === true;
}
