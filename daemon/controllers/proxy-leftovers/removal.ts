/**
 * Removes kube-proxy's rules from nf_tables and from iptables-legacy's tables. Works in bursts: `nft` and
 * `iptables-nft` read all chains before they change anything, and start again each time another program has committed
 * meanwhile. Without pauses they would wait for the end of the removal: 20 seconds with 48,000 chains.
 */

import type { Clock } from "../../../pkg/cluster/clock.ts";
import {
  type ProxyLeftovers,
  proxyLeftoversLook,
  type RemovalPart,
} from "../../../pkg/foreign/kube-proxy/leftovers.ts";
import { legacyProxyLeftovers } from "../../../pkg/foreign/kube-proxy/legacy.ts";
import { XTABLES, type XTable } from "../../../pkg/foreign/kube-proxy/names.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { answeredBy } from "../../core/drivers/ruleset.ts";
import { type Execute, isTableInUse, LEGACY_PROGRAM, restoreLegacy, runLegacy } from "../../core/legacy-tables.ts";

/** iptables-legacy reads and writes an entire table at once, which takes seconds with tens of thousands of rules. */
const LEGACY_LIMIT_MS = 25_000;

/** The duration of a burst of transactions. */
const BURST_MS = 500;
/** A pause is twice as long as reading the remaining chains takes, within these bounds. */
const REST_MS = { least: 100, most: 5000 };

export interface RemovalParts {
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly files: Pick<Files, "readFile">;
  readonly execute: Execute;
  readonly clock: Pick<Clock, "nowMs">;
}

export interface Removed {
  /** The removed objects, in words; empty if nothing was left. */
  readonly found: readonly string[];
  readonly kept: readonly string[];
  readonly transactions: number;
}

/** Reads kube-proxy's objects in nf_tables. */
export function lookForLeftovers(nftables: RemovalParts["nftables"]): Promise<ProxyLeftovers> {
  return answeredBy(nftables, proxyLeftoversLook());
}

const LEGACY_TABLES = ([4, 6] as const).flatMap((family) => XTABLES.map((table) => ({ family, table })));

export class LeftoverRemoval {
  readonly #parts: RemovalParts;
  readonly #found: string[] = [];
  readonly #kept: string[] = [];
  readonly #legacy = [...LEGACY_TABLES];
  #leftovers: ProxyLeftovers | undefined;
  #done = 0;
  #lookMs = 0;

  constructor(parts: RemovalParts) {
    this.#parts = parts;
  }

  /** The number of finished transactions, and of all. */
  get progress(): { readonly done: number; readonly of: number } {
    return { done: this.#done, of: this.#leftovers?.transactions.length ?? 0 };
  }

  /** The pause for other programs before the removal continues. */
  get restMs(): number {
    const { done, of } = this.progress;
    const share = of === 0 ? 0 : 1 - done / of;
    return Math.min(REST_MS.most, Math.max(REST_MS.least, 2 * this.#lookMs * share));
  }

  /**
   * Continues for one burst. Returns undefined if the removal is not finished; the next call must follow after
   * `restMs`. Rejects if another program has changed something meanwhile, or if leftovers cannot be removed by weftd
   * (the message names the command to run). After a rejection, start a new removal.
   */
  async goOn(): Promise<Removed | undefined> {
    const { nftables, clock } = this.#parts;
    if (this.#leftovers === undefined) {
      const begunMs = clock.nowMs();
      this.#leftovers = await lookForLeftovers(nftables);
      this.#lookMs = clock.nowMs() - begunMs;
      this.#found.push(...this.#leftovers.found);
      this.#kept.push(...this.#leftovers.kept);
    }
    const { transactions } = this.#leftovers;
    const untilMs = clock.nowMs() + BURST_MS;
    for (; this.#done < transactions.length; this.#done++) {
      if (clock.nowMs() >= untilMs) return undefined;
      const make = transactions[this.#done];
      if (make !== undefined) await commit(nftables, make());
    }
    for (let next = this.#legacy[0]; next !== undefined; next = this.#legacy[0]) {
      if (clock.nowMs() >= untilMs) return undefined;
      await this.#removeLegacy(next.family, next.table);
      this.#legacy.shift();
    }
    return { found: this.#found, kept: this.#kept, transactions: transactions.length };
  }

  async #removeLegacy(family: Family, table: XTable): Promise<void> {
    const { files, execute } = this.#parts;
    if (!isTableInUse(files, family, table)) return;
    const { found, kept } = await removeFromLegacy(execute, family, table);
    this.#found.push(...found);
    this.#kept.push(...kept);
  }
}

async function commit(nftables: RemovalParts["nftables"], { requests, isOptional }: RemovalPart): Promise<void> {
  try {
    await nftables.commit(requests);
  } catch (error) {
    if (!isOptional || !isNetlinkError(error, "EBUSY")) throw error;
  }
}

async function removeFromLegacy(
  execute: Execute,
  family: Family,
  table: XTable,
): Promise<Omit<Removed, "transactions">> {
  const program = LEGACY_PROGRAM[family];
  const remedy = "to remove kube-proxy's rules, run kube-proxy --cleanup on the host";
  const shown = await runLegacy(execute, family, ["-t", table, "-S"], { timeLimitMs: LEGACY_LIMIT_MS });
  if (shown === undefined) {
    throw new Error(
      `the table ${table} of ${program} is in use, but ${program} is not available here to find kube-proxy's rules in it; ` +
        `${remedy}`,
    );
  }
  const { text, count, kept } = legacyProxyLeftovers(table, shown);
  if (text === "") return { found: [], kept: [] };
  if ((await restoreLegacy(execute, family, text, LEGACY_LIMIT_MS)) === undefined)
    throw new Error(
      `${count} chains of kube-proxy's are in the table ${table} of ${program}, but ${program}-restore is not available here; ${remedy}`,
    );
  return {
    found: [`${count} chains KUBE-* in table ${table} of ${program}`],
    kept: kept.map((chain) => `${program} ${table} ${chain}`),
  };
}
