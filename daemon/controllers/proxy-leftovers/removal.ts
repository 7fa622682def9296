/** Removes what kube-proxy has left in nf_tables and in iptables-legacy's tables. */

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
const LEGACY_LIMIT_MS = 120_000;

export interface RemovalParts {
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly files: Pick<Files, "readFile">;
  readonly execute: Execute;
  /** A transaction of `of` has been carried out. */
  readonly onProgress: (done: number, of: number) => void;
}

export interface Removal {
  /** In words. Empty: nothing was left. */
  readonly found: readonly string[];
  readonly kept: readonly string[];
  readonly transactions: number;
}

/** What of kube-proxy's is in nf_tables. */
export function lookForLeftovers(nftables: RemovalParts["nftables"]): Promise<ProxyLeftovers> {
  return answeredBy(nftables, proxyLeftoversLook());
}

/** Throws where something is left that cannot be removed from here; the message says what to run. */
export async function removeLeftovers({ nftables, files, execute, onProgress }: RemovalParts): Promise<Removal> {
  const { found, kept, transactions } = await lookForLeftovers(nftables);
  for (const [index, make] of transactions.entries()) {
    await commit(nftables, make());
    onProgress(index + 1, transactions.length);
  }
  const legacy: Omit<Removal, "transactions">[] = [];
  for (const family of [4, 6] as const) {
    for (const table of XTABLES)
      if (isTableInUse(files, family, table)) legacy.push(await removeFromLegacy(execute, family, table));
  }
  return {
    found: [...found, ...legacy.flatMap((one) => one.found)],
    kept: [...kept, ...legacy.flatMap((one) => one.kept)],
    transactions: transactions.length,
  };
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
): Promise<Omit<Removal, "transactions">> {
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
