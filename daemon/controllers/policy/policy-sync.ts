/**
 * Brings the kernel's table in line with the `PolicyMap`: by the changes since the last sync, or, while the kernel's state
 * is uncertain, by a comparison of everything. While the cluster has no policies, there is no table.
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { type Address, addressKey } from "../../../pkg/ip/address.ts";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { PolicySettings } from "../../../pkg/policy/program.ts";
import type { PolicyChange } from "../../../pkg/policy/state.ts";
import { PolicyTables } from "../../../pkg/policy/tables.ts";
import type { Repairs, SentTransactions } from "../../core/drivers/table-programmer.ts";
import type { Logger } from "../../core/log.ts";
import type { PolicyProgrammer } from "./policy-programmer.ts";

/**
 * Why the kernel's state may differ from what the program remembers. Only `damage`, `contention` and `background` lead to
 * repairs. In the other cases the desired state is new, or weftd's own transaction failed.
 */
export type Doubt = "start" | "settings" | "failure" | "damage" | "contention" | "background";
const REPAIRING: ReadonlySet<Doubt> = new Set<Doubt>(["damage", "contention", "background"]);

/** The average time between comparisons that nothing else has triggered. */
const BACKGROUND_MS = 10 * 60_000;

export type SyncKind = "full" | "partial";

/** One sync that has ended. */
export interface SyncReport {
  readonly kind: SyncKind;
  readonly endedMs: number;
  readonly durationMs: number;
  /** Undefined if the sync failed. */
  readonly sent: SentTransactions | undefined;
  readonly error: string | undefined;
  /** Undefined if everything was compared. */
  readonly changes: readonly PolicyChange[] | undefined;
  readonly damagedSinceMs: number | undefined;
}

export interface PolicySyncParts {
  readonly map: Pick<PolicyMap, "changes" | "hasPolicies">;
  readonly programmer: Pick<PolicyProgrammer, "compare" | "change" | "remove">;
  /** Called before everything is compared. */
  readonly settings: () => Promise<PolicySettings>;
  readonly clock: Pick<Clock, "nowMs" | "random">;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Called after each sync that sent something or failed. */
  readonly onSync: (report: SyncReport) => void;
}

export class PolicySync {
  readonly #parts: PolicySyncParts;
  readonly #doubts = new Set<Doubt>(["start"]);
  /** The times at which comparisons are due: the periodic one, and the one for held-back repairs. */
  readonly #dueMs = new Map<"background" | "contention", number>();
  readonly tables = new PolicyTables();
  #damagedSinceMs: number | undefined;
  /** Undefined until the first sync. */
  #hasTable: boolean | undefined;

  constructor(parts: PolicySyncParts) {
    this.#parts = parts;
  }

  get doubts(): readonly Doubt[] {
    return [...this.#doubts];
  }

  /** True if no repair is held back. */
  get isComplete(): boolean {
    return !this.#dueMs.has("contention");
  }

  get hasTable(): boolean {
    return this.#hasTable === true;
  }

  /** True if policies concern a pod of this node with one of these addresses. */
  isSubject(addresses: readonly Address[]): boolean {
    return addresses.some((address) => this.tables.subjects.has(addressKey(address)));
  }

  /** Another program has changed something in the table, or may have. */
  damaged(): void {
    this.#damagedSinceMs ??= this.#parts.clock.nowMs();
    this.#doubts.add("damage");
  }

  /** Repairs are held back until this time. */
  restsUntil(untilMs: number): void {
    this.#dueMs.set("contention", untilMs);
  }

  /** Returns the comparisons that are due later, with the time until then. */
  upcoming(): readonly (readonly [Doubt, number])[] {
    const nowMs = this.#parts.clock.nowMs();
    return [...this.#dueMs].map(([doubt, dueMs]) => [doubt, Math.max(0, dueMs - nowMs)] as const);
  }

  /** Must not run twice at the same time. Throws `NetlinkError`; the next sync then compares everything. */
  async sync(reasons: readonly string[]): Promise<void> {
    const { map, clock } = this.#parts;
    for (const [doubt, dueMs] of this.#dueMs) if (clock.nowMs() >= dueMs) this.#doubts.add(doubt);
    const changes = map.changes();
    for (const change of changes) this.tables.apply(change);
    if (!map.hasPolicies) return this.#remove();
    if (this.#hasTable !== true) this.#doubts.add("start");
    if (this.#doubts.size > 0) return this.#full(changes.length > 0, reasons);
    if (changes.length > 0) await this.#partial(changes, reasons);
  }

  async #partial(changes: readonly PolicyChange[], reasons: readonly string[]): Promise<void> {
    const { programmer, log } = this.#parts;
    try {
      await this.#timed("partial", changes, () => programmer.change(changes));
    } catch (error) {
      log.warn({ err: error }, "the kernel refused a change of policies; comparing everything");
      this.#doubts.add("failure");
      await this.#full(true, reasons);
    }
  }

  async #full(hasChanges: boolean, reasons: readonly string[]): Promise<void> {
    const { programmer, settings, clock, log } = this.#parts;
    const doubts = [...this.#doubts];
    // The comparison may not include later events, so they must raise new doubts.
    this.#doubts.clear();
    const isRepair = doubts.every((doubt) => REPAIRING.has(doubt));
    const isContended = this.#dueMs.has("contention");
    const repairs: Repairs = isRepair && !hasChanges ? "objects" : isRepair || isContended ? "table" : "none";
    try {
      const { damagedMs, durationMs, sent } = await this.#timed("full", undefined, async () =>
        programmer.compare(this.tables, await settings(), repairs),
      );
      this.#hasTable = true;
      this.#dueMs.set("background", clock.nowMs() + BACKGROUND_MS * (0.5 + clock.random()));
      if (sent.resting === 0) this.#dueMs.delete("contention");
      const { subjects, peers, profiles } = this.tables;
      const sizes = { subjects: subjects.size, peers: peers.size, profiles: profiles.size };
      const line = { reasons, doubts, ...sizes, ...sent, durationMs, damagedMs };
      if (sent.requests > 0 && isRepair)
        log.warn(line, "restored policies that another program had removed or changed");
      else log.info(line, "policies compared with the kernel");
    } catch (error) {
      for (const doubt of doubts) this.#doubts.add(doubt);
      this.#doubts.add("failure");
      throw error;
    }
  }

  /** The cluster has no policies. */
  async #remove(): Promise<void> {
    const { programmer, log } = this.#parts;
    this.#dueMs.clear();
    if (this.#hasTable === false && this.#doubts.size === 0) return;
    this.#doubts.clear();
    try {
      const { sent } = await this.#timed("full", undefined, () => programmer.remove());
      this.#hasTable = false;
      if (sent.requests > 0) log.info("the cluster has no policies; removed their table");
    } catch (error) {
      this.#doubts.add("failure");
      throw error;
    }
  }

  /** Runs a sync and reports its outcome. */
  async #timed(kind: SyncKind, changes: readonly PolicyChange[] | undefined, send: () => Promise<SentTransactions>) {
    const { clock, onSync } = this.#parts;
    const beganMs = clock.nowMs();
    const damagedSinceMs = this.#damagedSinceMs;
    this.#damagedSinceMs = undefined;
    const ended = (sent: SentTransactions | undefined, error: string | undefined) => {
      const endedMs = clock.nowMs();
      onSync({ kind, endedMs, durationMs: endedMs - beganMs, sent, error, changes, damagedSinceMs });
      // For the log: the durations, in tenths of a millisecond.
      const since = (ms: number) => Math.round((endedMs - ms) * 10) / 10;
      return {
        durationMs: since(beganMs),
        damagedMs: damagedSinceMs === undefined ? undefined : since(damagedSinceMs),
      };
    };
    try {
      const sent = await send();
      return { sent, ...ended(sent, undefined) };
    } catch (error) {
      this.#damagedSinceMs = damagedSinceMs ?? this.#damagedSinceMs;
      ended(undefined, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
}
