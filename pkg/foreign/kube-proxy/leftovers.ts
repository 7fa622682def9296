/**
 * kube-proxy's leftovers in nf_tables, in its own tables and iptables-nft's, and the transactions that remove them.
 * Pure.
 *
 * A cluster's Services are tens of thousands of chains and rules. No transaction removes more than some hundreds of
 * them, because other users of nftables wait for the end of each transaction. The first one removes the jumps to all
 * others, so that no packet meets only half of the rules. The remaining rules then have no effect, and an interrupted
 * removal is completed later.
 */
import type { Look } from "../../netlink/look.ts";
import type { Request } from "../../netlink/message.ts";
import { NFPROTO } from "../../netlink/nftables.ts";
import { flushChain, flushSet, readSetNames, setNamesDump } from "../../nft/clearing.ts";
import {
  chainRequest,
  chainsDump,
  deleteChain,
  deleteRule,
  deleteTable,
  type NftChain,
  readChains,
  readRules,
  readTables,
  rulesDump,
  type TablePlace,
  tablePlaceText,
  tablesDump,
  verdictOf,
} from "../../nft/ruleset.ts";
import {
  CANARY,
  fixedChains,
  isProxyChain,
  isXTable,
  MARK_CHAIN,
  MASQUERADE_CHAIN,
  PROXY_TABLES,
  type XTable,
} from "./names.ts";

/** The maximum number of rules and chains that one transaction removes. The kernel takes about 20 ms for it. */
export const MOST_REMOVED = 500;

/** One transaction. ENOENT or EBUSY means that another program has changed something since the read. */
export interface RemovalPart {
  readonly requests: readonly Request[];
  /** True if a later transaction removes the same objects, too: EBUSY is then no failure. */
  readonly isOptional: boolean;
}

export interface ProxyLeftovers {
  /** Text for each table: "table ip kube-proxy (61 chains)". Empty if nothing is left. */
  readonly found: readonly string[];
  /** In order. Each is built when it is called: together they would take hundreds of megabytes. */
  readonly transactions: readonly (() => RemovalPart)[];
  /** Chains that are kept because other programs' rules jump to them: "ip nat KUBE-MARK-MASQ". */
  readonly kept: readonly string[];
}

/** Sends only a few queries if nothing is left. */
export function* proxyLeftoversLook(): Look<ProxyLeftovers> {
  const tables = readTables(yield [tablesDump()]);
  const own = tables.filter((table) => PROXY_TABLES.some((one) => isSameTable(one, table)));
  const iptables = tables.filter(({ family, table }) => IP_FAMILIES.includes(family) && isXTable(table));
  const marks = yield iptables.flatMap((place) =>
    fixedChains(place.table as XTable).map((chain) => chainRequest({ ...place, chain })),
  );
  const used = iptables.filter((place) => readChains(marks).some((chain) => isSameTable(chain, place)));
  const families = new Set([...own, ...used].map(({ family }) => family));
  if (families.size === 0) return { found: [], transactions: [], kept: [] };
  const chains = readChains(yield [...families].map(chainsDump));
  const of = (place: TablePlace) => chains.filter((chain) => isSameTable(chain, place));
  const parts: ProxyLeftovers[] = [];
  for (const place of used) parts.push(yield* lookAtIptables(place, of(place)));
  const sets = yield own.map(setNamesDump);
  for (const place of own) parts.push(leftTable(place, of(place), readSetNames(sets, place)));
  return {
    found: parts.flatMap(({ found }) => found),
    transactions: parts.flatMap(({ transactions }) => transactions),
    kept: parts.flatMap(({ kept }) => kept),
  };
}

const IP_FAMILIES: readonly number[] = [NFPROTO.ip, NFPROTO.ip6];

/** Plans the removal of a table of the nftables mode. */
function leftTable(place: TablePlace, chains: readonly NftChain[], sets: readonly string[]): ProxyLeftovers {
  const bases = chains.filter(({ hook }) => hook !== undefined);
  const others = chains.filter(({ hook }) => hook === undefined);
  return {
    found: [`table ${tablePlaceText(place)} (${chains.length} chains)`],
    transactions: [
      ...needed(bases, deleteChain),
      ...inParts(others, ({ use }) => use).flatMap((part) => needed(part, flushChain)),
      ...sets.flatMap((set) => needed([place], () => flushSet(place, set))),
      // Kernels before 6.2 refuse to delete a chain for a while after the last element that refers to it was removed.
      ...inParts(others, () => 1).map((part) => () => ({ requests: part.map(deleteChain), isOptional: true })),
      ...needed([place], deleteTable),
    ],
    kept: [],
  };
}

/** Plans the removal of kube-proxy's chains in one of iptables' tables. */
function* lookAtIptables(place: TablePlace, chains: readonly NftChain[]): Look<ProxyLeftovers> {
  const table = place.table as XTable;
  const isOurs = ({ chain }: { readonly chain: string }) => isProxyChain(table, chain);
  const others = chains.filter((chain) => !isOurs(chain));
  const rules = readRules(yield others.map(rulesDump));
  const leading = rules.filter((rule) => isOurs({ chain: targetOf(rule) }));
  const isBase = (name: string) => others.some(({ chain, hook }) => chain === name && hook !== undefined);
  const kept = new Set(leading.filter(({ chain }) => !isBase(chain)).map(targetOf));
  if (kept.has(MARK_CHAIN)) kept.add(MASQUERADE_CHAIN);
  yield* addReached(kept, place);
  const gone = chains.filter((chain) => isOurs(chain) && !kept.has(chain.chain));
  // The chain that shows that something is left is removed last.
  const inOrder = [...gone.filter(({ chain }) => chain !== CANARY), ...gone.filter(({ chain }) => chain === CANARY)];
  // A chain with a rule for each Service is emptied in parts.
  const rulesOfLarge = readRules(yield gone.filter(isLarge).map(rulesDump));
  const large = inParts(rulesOfLarge, () => 1);
  const sizeOf = (chain: NftChain) => (isLarge(chain) ? 1 : chain.use);
  const jumps = leading.filter((rule) => isBase(rule.chain) && !kept.has(targetOf(rule)));
  return {
    found: gone.length === 0 ? [] : [`${gone.length} chains KUBE-* of iptables in table ${tablePlaceText(place)}`],
    transactions: [
      ...needed(jumps, deleteRule),
      ...large.flatMap((part) => needed(part, deleteRule)),
      ...inParts(inOrder, sizeOf).flatMap((part) => needed(part, flushChain)),
      ...inParts(inOrder, () => 1).flatMap((part) => needed(part, deleteChain)),
    ],
    kept: [...kept]
      .filter((chain) => chains.some((one) => one.chain === chain))
      .map((chain) => `${tablePlaceText(place)} ${chain}`),
  };
}

/** Adds the chains to which rules in `chains` jump, recursively. */
function* addReached(chains: Set<string>, place: TablePlace): Look<void> {
  for (let next = [...chains]; next.length > 0; ) {
    const rules = readRules(yield next.map((chain) => rulesDump({ ...place, chain })));
    next = [...new Set(rules.map(targetOf))].filter((chain) => chain !== "" && !chains.has(chain));
    for (const chain of next) chains.add(chain);
  }
}

/** Returns one required transaction, or none if there is nothing to remove. */
function needed<T>(items: readonly T[], remove: (item: T) => Request): (() => RemovalPart)[] {
  return items.length === 0 ? [] : [() => ({ requests: items.map(remove), isOptional: false })];
}

function isLarge({ use }: NftChain): boolean {
  return use > MOST_REMOVED;
}

function targetOf(rule: Parameters<typeof verdictOf>[0]): string {
  return verdictOf(rule)?.chain ?? "";
}

function isSameTable(a: TablePlace, b: TablePlace): boolean {
  return a.family === b.family && a.table === b.table;
}

/** Splits into parts whose sizes add up to at most `MOST_REMOVED`. */
function inParts<T>(items: readonly T[], sizeOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let size = MOST_REMOVED;
  for (const item of items) {
    const own = Math.max(1, sizeOf(item));
    if (size + own > MOST_REMOVED) {
      parts.push([]);
      size = 0;
    }
    parts.at(-1)?.push(item);
    size += own;
  }
  return parts;
}
