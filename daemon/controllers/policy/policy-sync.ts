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
import { Doubts } from "../../core/doubts.ts";
import type { SentTransactions } from "../../core/drivers/table-programmer.ts";
import type { Logger } from "../../core/log.ts";
import type { PolicyProgrammer } from "./policy-programmer.ts";

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
  /** The time since which the table was damaged, if this sync completed its repair. */
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
  readonly doubts: Doubts;
  readonly tables = new PolicyTables();
  #damagedSinceMs: number | undefined;
  /** Undefined until the first sync. */
  #hasTable: boolean | undefined;

  constructor(parts: PolicySyncParts) {
    this.#parts = parts;
    this.doubts = new Doubts(parts.clock);
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
    this.doubts.add("damage");
  }

  /** Must not run twice at the same time. Throws `NetlinkError`; the next sync then compares everything. */
  async sync(reasons: readonly string[]): Promise<void> {
    const { map } = this.#parts;
    const changes = map.changes();
    for (const change of changes) this.tables.apply(change);
    if (!map.hasPolicies) return this.#remove();
    if (this.#hasTable !== true) this.doubts.add("start");
    if (this.doubts.current.length > 0) return this.#full(changes.length > 0, reasons);
    if (changes.length > 0) await this.#partial(changes, reasons);
  }

  async #partial(changes: readonly PolicyChange[], reasons: readonly string[]): Promise<void> {
    const { programmer, log } = this.#parts;
    try {
      await this.#timed("partial", changes, () => programmer.change(changes));
    } catch (error) {
      log.warn({ err: error }, "the kernel refused a change of policies; comparing everything");
      this.doubts.add("failure");
      await this.#full(true, reasons);
    }
  }

  async #full(hasChanges: boolean, reasons: readonly string[]): Promise<void> {
    const { programmer, settings, log } = this.#parts;
    const comparison = this.doubts.begin(hasChanges);
    const { doubts, isRepair, repairs } = comparison;
    try {
      const { damagedMs, durationMs, sent } = await this.#timed("full", undefined, async () =>
        programmer.compare(this.tables, await settings(), repairs),
      );
      this.#hasTable = true;
      this.doubts.succeeded(sent.resting);
      const { subjects, peers, profiles } = this.tables;
      const sizes = { subjects: subjects.size, peers: peers.size, profiles: profiles.size };
      const line = { reasons, doubts, ...sizes, ...sent, durationMs, damagedMs };
      if (sent.requests > 0 && isRepair)
        log.warn(line, "restored policies that another program had removed or changed");
      else log.info(line, "policies compared with the kernel");
    } catch (error) {
      this.doubts.failed(comparison);
      throw error;
    }
  }

  /** The cluster has no policies. */
  async #remove(): Promise<void> {
    const { programmer, log } = this.#parts;
    if (this.#hasTable === false && this.doubts.current.length === 0) return;
    this.doubts.settle();
    try {
      const { sent } = await this.#timed("full", undefined, () => programmer.remove());
      this.#hasTable = false;
      if (sent.requests > 0) log.info("the cluster has no policies; removed their tables");
    } catch (error) {
      this.doubts.add("failure");
      throw error;
    }
  }

  /** Runs a sync and reports its outcome. */
  async #timed(kind: SyncKind, changes: readonly PolicyChange[] | undefined, send: () => Promise<SentTransactions>) {
    const { clock, onSync } = this.#parts;
    const beganMs = clock.nowMs();
    // Only a comparison repairs.
    const takenMs = kind === "full" ? this.#damagedSinceMs : undefined;
    if (kind === "full") this.#damagedSinceMs = undefined;
    const ended = (sent: SentTransactions | undefined, error: string | undefined) => {
      const endedMs = clock.nowMs();
      const isRepaired = sent !== undefined && sent.resting === 0;
      // The time since which the table is damaged stays until the last part of the repair is sent.
      if (!isRepaired) this.#damagedSinceMs = takenMs ?? this.#damagedSinceMs;
      const damagedSinceMs = isRepaired ? takenMs : undefined;
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
      ended(undefined, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
}
