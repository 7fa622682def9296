/**
 * The rules of nf_tables that the executables have written for single pods. Another program may remove them all while the
 * pods run (`nft flush ruleset`): they come back from what the runtime remembers of each attachment.
 *
 * What counts as an attachment: a link bears its mark, and the runtime has its result. A runtime writes the result when ADD
 * is over and removes it after DEL, and DEL's plugins take their rules out before the link goes. So rules that are missing
 * in a table that stands come back only when they have been missing for a while; and of rules that came back to an
 * attachment whose link goes meanwhile nothing stays.
 */

import type { CachedAttachments } from "../../../pkg/attachment/cached-attachments.ts";
import { unchecked, type WantedRules, wantedRules } from "../../../pkg/attachment/wanted-rules.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import { attachmentObject, describeOwner } from "../../../pkg/kernel/owner.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { Message, Request } from "../../../pkg/netlink/message.ts";
import { ContentionError, type Gate } from "../../../pkg/reconcile/repair-gate.ts";
import type { RuleRecord } from "../../../pkg/tables/firewall.ts";
import {
  type AcceptedPod,
  acceptPods,
  recordRules,
  type SeenForwarding,
  unacceptedPods,
} from "../../../pkg/tables/pod-forwarding.ts";
import {
  acceptedPods,
  FORWARD_WISHES,
  type OwnedPart,
  ownersOf,
  type PodRulePart,
  type PodRules,
  type PodRulesObstacle,
  type PodRulesPlan,
  type PodTables,
  planPodRules,
  type SeenPodRules,
} from "../../../pkg/tables/pod-rules.ts";
import { forwardedAddresses, removeStaleRules } from "../../../pkg/tables/stale-pod-rules.ts";
import { OrphanedRules, type Remembered } from "./orphaned-rules.ts";

/** From one comparison with all that attachments should have to the next. */
const INTERVAL_MS = 60_000;
/** After rules came back: is the attachment still there? */
const RECHECK_MS = 2000;
/** What is missing for so long is not on its way out with its pod. */
const PATIENCE_MS = 45_000;
const DELAY_MS = 10;
/** Looking in vain takes at most one part in so many of a processor, however often others commit. */
const SHARE = 10;
/** Others commit all the time: each attempt that was overtaken waits a little longer. */
const ATTEMPTS = 60;
const LONGEST_PAUSE_MS = 100;
/** What comes back is there in the next round; more are for links that go meanwhile. */
const ROUNDS = 5;

export interface PodRulesKernel {
  tables(): Promise<PodTables>;
  look(): Promise<SeenPodRules>;
  /** The host's ends of pods' cables: mark -> name. */
  hostEnds(): Promise<ReadonlyMap<string, string>>;
  /** Throws `NetlinkError` ERESTART where the ruleset is of another generation by now. */
  commit(requests: readonly Request[], generation: number | undefined): Promise<readonly Message[]>;
  lookAtForwarding(adminChain: string, addresses: readonly Address[]): Promise<SeenForwarding>;
}

export interface PodRulesOptions {
  readonly clock: Clock;
  readonly kernel: PodRulesKernel;
  readonly cached: Pick<CachedAttachments, "read" | "hasFileOf">;
  readonly gate: Gate;
  /** True where tables of iptables on nf_tables would stand beside those of the legacy one. */
  readonly usesLegacyIptables: () => boolean;
  /** Rules of running pods are back. */
  readonly onRestored: (restored: readonly OwnedPart[], rules: readonly PodRules[]) => void | Promise<void>;
  /** Rules are gone of attachments that ended while no weftd ran. */
  readonly onOrphansRemoved: (owners: readonly string[]) => void;
  /** Called after each comparison with what is missing and does not come back; with nothing where all is well. */
  readonly onMissing: (reasons: readonly string[]) => void;
}

/** What one comparison has found. */
interface Comparison {
  readonly seen: SeenPodRules;
  readonly hostEnds: ReadonlyMap<string, string>;
  readonly obstacles: readonly PodRulesObstacle[];
  readonly restored: readonly OwnedPart[];
  readonly hasChanged: boolean;
}

interface Accepting {
  readonly requests: readonly Request[];
  readonly restored: readonly OwnedPart[];
  readonly addresses: readonly Address[];
  readonly held: readonly RuleRecord[];
}

export class RestoredPodRules {
  readonly #options: PodRulesOptions;
  /** By mark; what the runtime remembered when it was last asked. */
  #known: ReadonlyMap<string, WantedRules> = new Map();
  /** As the last comparison has left them; `undefined` before the first. */
  #tables: PodTables | undefined;
  /** Of which attachments the tables then held something. */
  #held: ReadonlyMap<PodRulePart, ReadonlySet<string>> = new Map();
  /** Part of an attachment -> since when it is missing in a table that stands. */
  #missingSince = new Map<string, number>();
  /** Attachments whose rules came back from here. */
  readonly #restored = new Set<string>();
  readonly #orphaned = new OrphanedRules();
  /** Attachments that had rules and that the runtime does not remember: mark -> parts. */
  readonly #lost = new Map<string, Set<PodRulePart>>();
  /** Attachments that the runtime does not remember -> when rules of others were found removed. */
  readonly #suspects = new Map<string, number>();
  #dueMs = 0;
  #idleUntilMs = 0;

  constructor(options: PodRulesOptions) {
    this.#options = options;
  }

  /**
   * Time to wait for more changes before the next `pass`. It grows with what the last one cost in vain, and lasts until what
   * rests may be put back.
   */
  get delayMs(): number {
    return Math.max(DELAY_MS, this.#idleUntilMs - this.#options.clock.nowMs());
  }

  /** Until the next comparison that nothing asks for. */
  get dueInMs(): number {
    return Math.max(0, this.#dueMs - this.#options.clock.nowMs());
  }

  /** Compares where one of the tables is gone or is another one, or where it is time. Throws where something rests. */
  async pass(): Promise<void> {
    const beganMs = this.#options.clock.nowMs();
    try {
      if (await this.#isDone()) return;
      await this.#compare();
      this.#options.gate.assertNothingRests();
    } catch (error) {
      // The next attempt compares in any case.
      this.#dueMs = 0;
      this.#pauseSince(beganMs, error instanceof ContentionError ? error.untilMs : 0);
      throw error;
    }
  }

  async #isDone(): Promise<boolean> {
    const { clock, kernel } = this.#options;
    const beganMs = clock.nowMs();
    if (beganMs >= this.#dueMs || !isSameTables(this.#tables, await kernel.tables())) return false;
    this.#pauseSince(beganMs, 0);
    return true;
  }

  #pauseSince(beganMs: number, untilMs: number): void {
    const nowMs = this.#options.clock.nowMs();
    const pauseMs = Math.min(SHARE * (nowMs - beganMs), INTERVAL_MS);
    this.#idleUntilMs = Math.max(untilMs, nowMs + pauseMs);
  }

  async #compare(): Promise<void> {
    const { clock, onRestored, onMissing } = this.#options;
    const allowed = new Map<string, boolean>();
    const restored: OwnedPart[] = [];
    for (let attempt = 1, rounds = 1; ; ) {
      try {
        const step = await this.#step(allowed);
        restored.push(...step.restored);
        // What was sent is looked at again: a link that goes meanwhile takes its rules along.
        if (step.hasChanged && rounds++ < ROUNDS) continue;
        this.#settle(step, restored.length > 0);
        onMissing(this.#missing(step));
        break;
      } catch (error) {
        if (attempt++ === ATTEMPTS || !isNetlinkError(error, "ERESTART", "EEXIST", "ENOENT", "EINTR")) throw error;
        await pause(clock, Math.min(attempt * DELAY_MS, LONGEST_PAUSE_MS) * clock.random());
      }
    }
    const owners = new Set(restored.map(({ owner }) => owner));
    if (owners.size > 0) {
      const rules = [...owners].flatMap((owner) => this.#known.get(owner)?.rules ?? []);
      await onRestored(restored, rules);
    }
    this.#dueMs = clock.nowMs() + (owners.size > 0 ? RECHECK_MS : INTERVAL_MS);
  }

  /** One look, and the change that it asks for. `allowed` tells which attachments' rules may come back. */
  async #step(allowed: Map<string, boolean>): Promise<Comparison> {
    const { kernel, gate } = this.#options;
    const seen = await kernel.look();
    // After the generation was asked for: an attachment without a link has none any more when the change is made.
    const hostEnds = await kernel.hostEnds();
    if (await this.#removeStale(seen, hostEnds))
      return { seen, hostEnds, restored: [], obstacles: [], hasChanged: true };
    const isUnknown = [...hostEnds.keys()].some((mark) => !this.#known.has(mark));
    if (isUnknown || !isComplete(seen, this.#wanted(hostEnds))) this.#learn(hostEnds);
    const isAllowed = (owner: string) => {
      const verdict = allowed.get(owner) ?? gate.mayPutBack(attachmentObject(owner), () => rulesText(owner));
      allowed.set(owner, verdict);
      return verdict;
    };
    const wanted = this.#wanted(hostEnds);
    const isDue = (part: OwnedPart) => this.#isDue(part, seen.handles) && isAllowed(part.owner);
    const plan = planPodRules(seen, wanted, isDue);
    const accepting = await this.#accepting(acceptedPods(seen, wanted, plan.restored), isAllowed);
    for (const { owner } of [...plan.restored, ...accepting.restored]) this.#restored.add(owner);
    const done = await this.#commit(seen, plan, accepting);
    return { seen, hostEnds, ...done, obstacles: [...plan.obstacles, ...done.obstacles] };
  }

  /** A table of another program's that lets no one else change it does not keep our own from being filled. */
  async #commit(
    { generation }: SeenPodRules,
    plan: PodRulesPlan,
    accepting: Accepting,
  ): Promise<Pick<Comparison, "restored" | "obstacles" | "hasChanged">> {
    const { kernel } = this.#options;
    const requests = [...plan.requests, ...accepting.requests];
    try {
      const echoes = await kernel.commit(requests, generation);
      await this.#record(accepting, echoes);
    } catch (error) {
      if (accepting.requests.length === 0 || !isNetlinkError(error, "EPERM")) throw error;
      await kernel.commit(plan.requests, generation);
      const obstacles = accepting.restored.map((part) => ({ ...part, reason: error.message }));
      return { restored: plan.restored, obstacles, hasChanged: plan.requests.length > 0 };
    }
    return {
      restored: [...plan.restored, ...accepting.restored],
      obstacles: [],
      hasChanged: requests.length > 0,
    };
  }

  /** Rules in other programs' chains; those of another administrator's chain come in the next round. */
  async #accepting(pods: readonly AcceptedPod[], isAllowed: (owner: string) => boolean): Promise<Accepting> {
    const { kernel, usesLegacyIptables } = this.#options;
    for (const adminChain of new Set(pods.map((pod) => pod.adminChain))) {
      const own = pods.filter((pod) => pod.adminChain === adminChain);
      const addresses = own.flatMap((pod) => pod.addresses);
      const seen = await kernel.lookAtForwarding(adminChain, addresses);
      const makesTables = !usesLegacyIptables();
      const missing = unacceptedPods(seen, own, makesTables).filter(({ owner }) => isAllowed(owner));
      if (missing.length === 0) continue;
      const restored = missing.map(({ owner }) => ({ owner, part: "firewall" as const }));
      return { requests: acceptPods(seen, missing, makesTables), restored, addresses, held: seen.records };
    }
    return { requests: [], restored: [], addresses: [], held: [] };
  }

  /** A record that fails costs the DEL a look at the whole chain, and nothing else. */
  async #record({ addresses, held }: Accepting, echoes: readonly Message[]): Promise<void> {
    try {
      await this.#options.kernel.commit(recordRules(addresses, held, echoes), undefined);
    } catch (error) {
      if (!isNetlinkError(error)) throw error;
    }
  }

  /** What weftd put back, and belongs to no attachment any more. True where there was something. */
  async #removeStale(seen: SeenPodRules, hostEnds: ReadonlyMap<string, string>): Promise<boolean> {
    const { kernel, clock, onOrphansRemoved } = this.#options;
    const owners = new Set([...ownersOf(seen).values()].flatMap((marks) => [...marks]));
    const orphans = this.#orphaned.find(owners, hostEnds, () => this.#remembered(), clock.nowMs());
    const stale = new Set([...orphans, ...[...this.#restored].filter((mark) => !hostEnds.has(mark))]);
    const isStale = (owner: string) => stale.has(owner);
    const addresses = stale.size === 0 ? [] : forwardedAddresses(seen, isStale);
    const forwarding =
      addresses.length === 0 ? undefined : await kernel.lookAtForwarding(FORWARD_WISHES.adminChain, addresses);
    const removal = stale.size === 0 ? [] : removeStaleRules(seen, isStale, forwarding);
    if (removal.length > 0) {
      await kernel.commit(removal, seen.generation);
      if (orphans.size > 0) onOrphansRemoved([...orphans]);
      return true;
    }
    for (const mark of stale) this.#restored.delete(mark);
    return false;
  }

  #remembered(): Remembered {
    const { cached } = this.#options;
    const attachments = cached.read();
    return { isEmpty: attachments.size === 0, has: (mark) => attachments.has(mark) || cached.hasFileOf(mark) };
  }

  #learn(hostEnds: ReadonlyMap<string, string>): void {
    const cached = this.#options.cached.read();
    this.#known = new Map(
      [...hostEnds].flatMap(([mark, name]) => {
        const attachment = cached.get(mark);
        return attachment === undefined ? [] : [[mark, wantedRules(attachment, name)] as const];
      }),
    );
  }

  #wanted(hostEnds: ReadonlyMap<string, string>): PodRules[] {
    return [...hostEnds.keys()].flatMap((mark) => this.#known.get(mark)?.rules ?? []);
  }

  /** At once where the whole table was removed, else after a while. */
  #isDue({ owner, part }: OwnedPart, handles: PodTables): boolean {
    const isGone = !handles.has(part);
    const isAnother = this.#tables !== undefined && this.#tables.get(part) !== handles.get(part);
    const nowMs = this.#options.clock.nowMs();
    const key = `${part} ${owner}`;
    const sinceMs = isGone || isAnother ? nowMs - PATIENCE_MS : (this.#missingSince.get(key) ?? nowMs);
    this.#missingSince.set(key, sinceMs);
    return nowMs - sinceMs >= PATIENCE_MS;
  }

  #settle({ seen, hostEnds }: Comparison, hasRestored: boolean): void {
    const nowMs = this.#options.clock.nowMs();
    const held = ownersOf(seen);
    const isUnknown = (mark: string) => hostEnds.has(mark) && !this.#known.has(mark);
    // What goes from a table that stands is a DEL's work.
    const replaced = [...this.#held].filter(([part]) => this.#tables?.get(part) !== seen.handles.get(part));
    for (const [part, owners] of replaced)
      for (const owner of owners) this.#lost.set(owner, (this.#lost.get(owner) ?? new Set()).add(part));
    for (const [mark, parts] of this.#lost) {
      const left = [...parts].filter((part) => isUnknown(mark) && held.get(part)?.has(mark) !== true);
      if (left.length > 0) this.#lost.set(mark, new Set(left));
      else this.#lost.delete(mark);
    }
    if (hasRestored) for (const mark of hostEnds.keys()) if (isUnknown(mark)) this.#suspects.set(mark, nowMs);
    for (const mark of this.#suspects.keys()) if (!isUnknown(mark)) this.#suspects.delete(mark);
    this.#held = held;
    this.#tables = seen.handles;
    const wanted = this.#wanted(hostEnds);
    const stillMissing = new Set<string>();
    planPodRules(seen, wanted, ({ owner, part }) => {
      stillMissing.add(`${part} ${owner}`);
      return false;
    });
    this.#missingSince = new Map([...this.#missingSince].filter(([key]) => stillMissing.has(key)));
  }

  #missing({ seen, hostEnds, obstacles }: Comparison): string[] {
    const unreadable = [...hostEnds.keys()].flatMap((mark) => this.#known.get(mark)?.obstacles ?? []);
    const nowMs = this.#options.clock.nowMs();
    const unknown =
      "and the runtime has no result of it in /var/lib/cni/results to put them back from: restart the pod";
    const lost = [...this.#lost].map(
      ([mark, parts]) =>
        `${describeOwner(mark)}: another program removed its rules (${[...parts].join(", ")}), ${unknown}`,
    );
    const suspects = [...this.#suspects]
      .filter(([mark, sinceMs]) => !this.#lost.has(mark) && nowMs - sinceMs >= PATIENCE_MS)
      .map(([mark]) => `${describeOwner(mark)}: its rules may have been removed with those of other pods, ${unknown}`);
    const uncheckable = unchecked(unreadable, ownersOf(seen)).map(uncheckedText);
    return [...obstacles.map(obstacleText), ...uncheckable, ...lost, ...suspects];
  }
}

function obstacleText({ owner, part, reason }: PodRulesObstacle): string {
  return `${describeOwner(owner)}: its rules (${part}) were removed and cannot be put back: ${reason}; restart the pod`;
}

function uncheckedText({ owner, part, reason }: PodRulesObstacle): string {
  return (
    `${describeOwner(owner)}: its rules (${part}) cannot be checked, and do not come back where another program removes ` +
    `them: ${reason}`
  );
}

/** In an operator's words. */
function rulesText(owner: string): string {
  return `rules of ${describeOwner(owner)}`;
}

function isComplete(seen: SeenPodRules, wanted: readonly PodRules[]): boolean {
  let isMissing = false;
  planPodRules(seen, wanted, () => {
    isMissing = true;
    return false;
  });
  return !isMissing;
}

function isSameTables(one: PodTables | undefined, other: PodTables): boolean {
  return one !== undefined && one.size === other.size && [...one].every(([part, handle]) => other.get(part) === handle);
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(ms, resolve);
  });
}
