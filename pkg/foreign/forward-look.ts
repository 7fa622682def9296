/**
 * What is asked of the kernel to know what becomes of forwarded packets in other programs' chains: few questions, whatever
 * else their tables hold.
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

/** How many chains are read at most: one that is longer on its way to a drop is not known as one that drops. */
const CHAINS = 64;

/** What a look leaves out. */
export interface Depth {
  /**
   * Of iptables' filter tables FORWARD alone is read, not what it leads to. CNI-FORWARD holds two rules for each address
   * of the node, so reading it costs more with each pod.
   */
  readonly isShallow?: boolean;
  /** What earlier looks have found, for a program that hears of new base chains. [nothing: all chains are dumped] */
  readonly bases?: BaseChains;
}

/**
 * The chains where forwarded packets go, then the rules that decide, chain by chain. iptables' chains are asked for by
 * their names: its tables may hold thousands, and none of the others matters.
 */
export function lookAtForwarding(read: Read, options: Pick<ForwardOptions, "adminChain">, depth?: Depth): NftRuleset {
  return answered(forwardingLook(options, depth), read);
}

/** The same for those who wait for the kernel's answers: yields questions, takes the answers to them all. */
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

/** Where no forward chain has any other name than FORWARD; what else calls its table "filter" has no such chain. */
function isOfIptables({ family, table }: TablePlace, known: readonly NftChain[]): boolean {
  if (family === NFPROTO.inet) return false;
  if (table !== "filter") return IPTABLES_TABLES.has(table) || table === "nat" || table === "raw";
  return known.some((chain) => chain.family === family && chain.table === table && chain.chain === "FORWARD");
}

/** Where rules without conditions lead from these chains. */
function targetsOf(rules: readonly NftRule[], chains: readonly ChainPlace[]): ChainPlace[] {
  return rules
    .filter((rule) => isUnconditional(rule) && chains.some((chain) => isSameChain(chain, rule)))
    .flatMap((rule) => {
      const { family, table } = rule;
      const chain = verdictOf(rule)?.chain;
      return chain === undefined ? [] : [{ family, table, chain }];
    });
}

/** As `lookAtForwarding`, with the reference plugin's chains that it does not need. */
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

/** The rules of the reference plugin's first isolation chain; one question each where there is none. */
export function isolationDumps(): Query[] {
  return [NFPROTO.ip, NFPROTO.ip6].map((family) => rulesDump({ family, table: "filter", chain: ISOLATION_CHAINS[0] }));
}
