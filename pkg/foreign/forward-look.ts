/**
 * Reads from the kernel how other programs' chains treat forwarded packets, with few queries, whatever else their
 * tables contain.
 */

import { ISOLATION_CHAINS, PRIVATE_CHAIN } from "../footprint.ts";
import { answered, type Look, type Read } from "../netlink/look.ts";
import type { Query } from "../netlink/message.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import {
  type ChainPlace,
  chainRequest,
  isSameChain,
  isUnconditional,
  type NftChain,
  type NftRule,
  type NftRuleset,
  readChains,
  readRules,
  readTables,
  rulesDump,
  type TablePlace,
  tablesDump,
  verdictOf,
} from "../nft/ruleset.ts";
import { BaseChains } from "./base-chains.ts";
import type { ForwardOptions } from "./foreign-forward.ts";
import { IPTABLES_TABLES, isFilterTable, isForward, isIpTable, isPrivate } from "./forward-chains.ts";

/** The maximum number of chains to read. If more chains precede a drop, the drop is not recognised. */
const CHAINS = 64;

/** Limits of a read. */
export interface Depth {
  /**
   * Reads only FORWARD in iptables' filter tables, not the chains to which it jumps. CNI-FORWARD has two rules for each
   * address of the node, so reading it costs more with each pod.
   */
  readonly isShallow?: boolean;
  /**
   * The result of earlier reads, for a program that receives notifications of new base chains. [none: all chains are
   * dumped]
   */
  readonly bases?: BaseChains;
}

/**
 * Returns the chains that forwarded packets pass, and then the relevant rules, chain by chain. Reads iptables' chains
 * by name: its tables may have thousands of chains, and the others do not matter.
 */
export function lookAtForwarding(read: Read, options: Pick<ForwardOptions, "adminChain">, depth?: Depth): NftRuleset {
  return answered(forwardingLook(options, depth), read);
}

/**
 * The same as a generator for callers that wait for the kernel's answers: yields queries, receives the answers to all
 * of them.
 */
export function* forwardingLook(
  { adminChain }: Pick<ForwardOptions, "adminChain">,
  { isShallow = false, bases = new BaseChains() }: Depth = {},
): Look<NftRuleset> {
  const tables = readTables(yield [tablesDump()]).filter(isIpTable);
  const named = tables
    .filter(({ family, table }) => family !== NFPROTO.inet && IPTABLES_TABLES.has(table))
    .flatMap(({ family, table }): ChainPlace[] => [
      { family, table, chain: "FORWARD" },
      ...(table === "filter" ? [PRIVATE_CHAIN, adminChain].map((chain) => ({ family, table, chain })) : []),
    ]);
  // With 5,000 chains in `ip nat`, a dump of all chains made a DEL take 153 ms; by name it takes 5 ms.
  const chains = readChains(yield named.map(chainRequest));
  const isKnown = (place: ChainPlace) => chains.some((chain) => isSameChain(chain, place));
  const others = new Set(tables.filter((table) => !isOfIptables(table, chains)).map(({ family }) => family));
  chains.push(...(yield* bases.look(others)).filter((base) => !isKnown(base)));
  const isRead = (place: ChainPlace) => !isShallow || !isFilterTable(place) || place.chain === "FORWARD";
  const rules: NftRule[] = [];
  let open = chains.filter((chain) => (isForward(chain) || isPrivate(chain)) && isRead(chain));
  for (const asked: ChainPlace[] = []; open.length > 0 && asked.length < CHAINS; ) {
    asked.push(...open);
    const found = readRules(yield open.map(rulesDump));
    rules.push(...found);
    const targets = targetsOf(found, open)
      .filter(isRead)
      .filter((target) => !asked.some((place) => isSameChain(place, target)));
    chains.push(...readChains(yield targets.filter((target) => !isKnown(target)).map(chainRequest)));
    open = chains.filter((chain) => targets.some((target) => isSameChain(target, chain)));
  }
  return { tables, chains, rules };
}

/**
 * True if no forward chain in the table has another name than FORWARD. Another program's table "filter" has no such
 * chain.
 */
function isOfIptables({ family, table }: TablePlace, known: readonly NftChain[]): boolean {
  if (family === NFPROTO.inet) return false;
  if (table !== "filter") return IPTABLES_TABLES.has(table) || table === "nat" || table === "raw";
  return known.some((chain) => chain.family === family && chain.table === table && chain.chain === "FORWARD");
}

/** Returns the chains to which rules without conditions in these chains jump. */
function targetsOf(rules: readonly NftRule[], chains: readonly ChainPlace[]): ChainPlace[] {
  return rules
    .filter((rule) => isUnconditional(rule) && chains.some((chain) => isSameChain(chain, rule)))
    .flatMap((rule) => {
      const { family, table } = rule;
      const chain = verdictOf(rule)?.chain;
      return chain === undefined ? [] : [{ family, table, chain }];
    });
}

/** Like `lookAtForwarding`, with the reference plugin's chains that it does not need. */
export function lookAtReference(read: Read, options: ForwardOptions): NftRuleset {
  const { tables, chains, rules } = lookAtForwarding(read, options);
  const places = chains.filter(isPrivate).flatMap((own) => ISOLATION_CHAINS.map((chain) => ({ ...own, chain })));
  const isIn = (list: readonly ChainPlace[]) => (place: ChainPlace) => list.some((one) => isSameChain(one, place));
  const unknown = places.filter((place) => !isIn(chains)(place));
  const unread = places.filter((place) => !isIn(rules)(place));
  return {
    tables,
    chains: [...chains, ...readChains(read(unknown.map(chainRequest)))],
    rules: [...rules, ...readRules(read(unread.map(rulesDump)))],
  };
}

/**
 * Queries the rules of the reference plugin's first isolation chain. Each query has a small answer if there is none.
 */
export function isolationDumps(): Query[] {
  return [NFPROTO.ip, NFPROTO.ip6].map((family) => rulesDump({ family, table: "filter", chain: ISOLATION_CHAINS[0] }));
}
