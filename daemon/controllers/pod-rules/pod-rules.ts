/**
 * Restores the nf_tables rules that the executables have written for single pods. Another program may remove all of
 * them while the pods run (`nft flush ruleset`); they are restored from the runtime's result for each attachment.
 *
 * An attachment exists if a link has its mark and the runtime has its result. A runtime writes the result after ADD and
 * removes it after DEL, and DEL's plugins remove their rules before the link is deleted. So rules that are missing in
 * an existing table are restored only after they have been missing for some time, and restored rules are removed if
 * their attachment's link is deleted meanwhile.
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

/** The time between comparisons with all rules that attachments must have. */
const INTERVAL_MS = 60_000;
/** The time after a restore at which weftd checks whether the attachment still exists. */
const RECHECK_MS = 2000;
/** Rules that have been missing for this time are not being removed together with their pod. */
const PATIENCE_MS = 45_000;
const DELAY_MS = 10;
/** Checks without changes use at most one part in this many of a processor, however often other programs commit. */
const SHARE = 10;
/** Other programs commit all the time, so each attempt that was overtaken waits a little longer. */
const ATTEMPTS = 60;
const LONGEST_PAUSE_MS = 100;
/** The second round sees the restored rules; further rounds are for links that are deleted meanwhile. */
const ROUNDS = 5;

export interface PodRulesKernel {
  tables(): Promise<PodTables>;
  look(): Promise<SeenPodRules>;
  /** The host's ends of pods' veth pairs: mark -> name. */
  hostEnds(): Promise<ReadonlyMap<string, string>>;
  /** Throws `NetlinkError` ERESTART if the ruleset has another generation by now. */
  commit(requests: readonly Request[], generation: number | undefined): Promise<readonly Message[]>;
  lookAtForwarding(adminChain: string, addresses: readonly Address[]): Promise<SeenForwarding>;
}

export interface PodRulesOptions {
  readonly clock: Clock;
  readonly kernel: PodRulesKernel;
  readonly cached: Pick<CachedAttachments, "read" | "hasFileOf">;
  readonly gate: Gate;
  /** True if tables of iptables on nf_tables would exist together with legacy ones. */
  readonly usesLegacyIptables: () => boolean;
  /** Called after rules of running pods were restored. */
  readonly onRestored: (restored: readonly OwnedPart[], rules: readonly PodRules[]) => void | Promise<void>;
  /** Called after rules were removed whose attachments ended while no weftd ran. */
  readonly onOrphansRemoved: (owners: readonly string[]) => void;
  /** Called after each comparison with the rules that are missing and cannot be restored; with none if all is well. */
  readonly onMissing: (reasons: readonly string[]) => void;
}

/** The result of one comparison. */
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
  /** The attachments of the runtime's last-read results, by mark. */
  #known: ReadonlyMap<string, WantedRules> = new Map();
  /** The tables as the last comparison has left them; undefined before the first. */
  #tables: PodTables | undefined;
  /** The attachments of which these tables had rules. */
  #held: ReadonlyMap<PodRulePart, ReadonlySet<string>> = new Map();
  /** For parts of attachments that are missing in an existing table: the time since which they are. */
  #missingSince = new Map<string, number>();
  /** Attachments whose rules this process has restored. */
  readonly #restored = new Set<string>();
  readonly #orphaned = new OrphanedRules();
  /** Attachments that had rules and have no result: mark -> parts. */
  readonly #lost = new Map<string, Set<PodRulePart>>();
  /** Attachments without a result: mark -> the time when other attachments' rules were found removed. */
  readonly #suspects = new Map<string, number>();
  #dueMs = 0;
  #idleUntilMs = 0;

  constructor(options: PodRulesOptions) {
    this.#options = options;
  }

  /**
   * The time to wait for more changes before the next `pass`. Grows with the duration of the last check without
   * changes, and lasts at least until the back-off of a held-back repair ends.
   */
  get delayMs(): number {
    return Math.max(DELAY_MS, this.#idleUntilMs - this.#options.clock.nowMs());
  }

  /** The time until the next periodic comparison. */
  get dueInMs(): number {
    return Math.max(0, this.#dueMs - this.#options.clock.nowMs());
  }

  /** Compares if a table is missing or was replaced, or if the comparison is due. Throws if a repair is held back. */
  async pass(): Promise<void> {
    const beganMs = this.#options.clock.nowMs();
    try {
      if (await this.#isDone()) return;
      await this.#compare();
      this.#options.gate.assertNothingRests();
    } catch (error) {
      // Makes the next attempt compare in any case.
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
        // Check again after a change: if a link was deleted meanwhile, its rules must be removed.
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

  /** Reads once and makes the resulting change. `allowed` caches which attachments' rules may be restored. */
  async #step(allowed: Map<string, boolean>): Promise<Comparison> {
    const { kernel, gate } = this.#options;
    const seen = await kernel.look();
    // Read after the generation: if an attachment has no link now, it has none when the change is made.
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

  /** Commits. If another program's table excludes other programs, weft's own tables are still filled. */
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

  /** Plans the rules in other programs' chains, for one administrator's chain. Others follow in the next round. */
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

  /** Records the rules' handles. Without the record, DEL must read the entire chain; nothing else is affected. */
  async #record({ addresses, held }: Accepting, echoes: readonly Message[]): Promise<void> {
    try {
      await this.#options.kernel.commit(recordRules(addresses, held, echoes), undefined);
    } catch (error) {
      if (!isNetlinkError(error)) throw error;
    }
  }

  /** Removes rules that weftd restored and that belong to no attachment any more. True if there were any. */
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

  /** True at once if the entire table was removed, else after some time. */
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
    // Rules that vanish from an existing table were removed by a DEL.
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
      "and cannot be restored, because the runtime has no result of it in /var/lib/cni/results; restart the pod";
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
  return `${describeOwner(owner)}: its rules (${part}) were removed and cannot be restored: ${reason}; restart the pod`;
}

function uncheckedText({ owner, part, reason }: PodRulesObstacle): string {
  return (
    `${describeOwner(owner)}: its rules (${part}) cannot be checked, and are not restored if another program removes ` +
    `them: ${reason}`
  );
}

/** Describes the rules for an operator. */
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
