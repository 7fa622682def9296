/**
 * Removes what kube-proxy has left in nf_tables and in iptables-legacy's tables. In bursts: `nft` and `iptables-nft` read all
 * chains before they change anything, and begin anew each time that another program has committed meanwhile. Without pauses
 * they wait for the end: 20 seconds among 48,000 chains.
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

/** iptables-legacy reads and writes a whole table at once: tens of thousands of rules take it seconds. */
const LEGACY_LIMIT_MS = 25_000;

/** Transactions follow each other for so long. */
const BURST_MS = 500;
/** A pause is twice as long as reading the chains that are left takes, within these bounds. */
const REST_MS = { least: 100, most: 5000 };

export interface RemovalParts {
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly files: Pick<Files, "readFile">;
  readonly execute: Execute;
  readonly clock: Pick<Clock, "nowMs">;
}

export interface Removed {
  /** In words. Empty: nothing was left. */
  readonly found: readonly string[];
  readonly kept: readonly string[];
  readonly transactions: number;
}

/** What of kube-proxy's is in nf_tables. */
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

  /** Transactions that are done, and all that are to be. */
  get progress(): { readonly done: number; readonly of: number } {
    return { done: this.#done, of: this.#leftovers?.transactions.length ?? 0 };
  }

  /** How long others are to be left alone before the removal goes on. */
  get restMs(): number {
    const { done, of } = this.progress;
    const share = of === 0 ? 0 : 1 - done / of;
    return Math.min(REST_MS.most, Math.max(REST_MS.least, 2 * this.#lookMs * share));
  }

  /**
   * Goes on for a moment; undefined where there is more to do, after a pause of `restMs`. Rejects where another program has
   * changed something meanwhile, and where something is left that cannot be removed from here (the message says what to run):
   * what is left then is a new removal's.
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
  const remedy = "remove kube-proxy's rules on the host by kube-proxy --cleanup";
  const shown = await runLegacy(execute, family, ["-t", table, "-S"], { timeLimitMs: LEGACY_LIMIT_MS });
  if (shown === undefined) {
    throw new Error(
      `the table ${table} of ${program} is in use, and there is no ${program} here to look whether kube-proxy's rules are in ` +
        `it: ${remedy}`,
    );
  }
  const { text, count, kept } = legacyProxyLeftovers(table, shown);
  if (text === "") return { found: [], kept: [] };
  if ((await restoreLegacy(execute, family, text, LEGACY_LIMIT_MS)) === undefined)
    throw new Error(
      `${count} chains of kube-proxy's are in the table ${table} of ${program}, and there is no ${program}-restore here: ${remedy}`,
    );
  return {
    found: [`${count} chains KUBE-* in table ${table} of ${program}`],
    kept: kept.map((chain) => `${program} ${table} ${chain}`),
  };
}
