/**
 * The rules that flanneld 0.28 leaves in nf_tables, its own tables' and iptables-nft's: what is there of them, and the
 * transaction that takes them away. Pure.
 */
import type { Message, Query, Request } from "../netlink/message.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import {
  type ChainPlace,
  chainRequest,
  deleteChain,
  deleteRule,
  deleteTable,
  isSameChain,
  readChains,
  readRules,
  readTables,
  rulesDump,
  tablesDump,
  verdictOf,
} from "../nft/ruleset.ts";

/** Of its mode that writes nftables. */
const OWN_TABLES = [
  { family: NFPROTO.ip, table: "flannel-ipv4" },
  { family: NFPROTO.ip6, table: "flannel-ipv6" },
] as const;

/** Of its mode that calls iptables: the chains of its own, those that lead there, and the comment of the rule that does. */
export const FLANNEL_CHAINS = [
  { table: "filter", entry: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward" },
  { table: "nat", entry: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq" },
] as const;

const CHAINS = [NFPROTO.ip, NFPROTO.ip6].flatMap((family) =>
  FLANNEL_CHAINS.map(({ table, entry, chain }) => ({ entry: { family, table, chain: entry }, chain })),
);

/** What is asked first: few answers, and none of flannel's on most nodes. What is absent (ENOENT) counts as empty. */
export const flannelQuestions = {
  single: (): readonly Query[] => CHAINS.map(({ entry, chain }) => chainRequest({ ...entry, chain })),
  dumps: (): readonly Query[] => [tablesDump(), ...CHAINS.map(({ entry }) => rulesDump(entry))],
};

/** One transaction; empty where nothing of flannel's is there. ENOENT, EBUSY: somebody has changed it since the look. */
export function planFlannelRemoval(seen: readonly Message[]): Request[] {
  const tables = readTables(seen).filter((place) =>
    OWN_TABLES.some(({ family, table }) => family === place.family && table === place.table),
  );
  const rules = readRules(seen);
  const chains = readChains(seen);
  const places = CHAINS.map(({ entry, chain }) => ({ entry, own: { ...entry, chain } as ChainPlace }));
  const jumps = places.flatMap(({ entry, own }) =>
    rules.filter((rule) => isSameChain(rule, entry) && verdictOf(rule)?.chain === own.chain),
  );
  const own = places.flatMap((place) => (chains.some((chain) => isSameChain(chain, place.own)) ? [place.own] : []));
  return [...tables.map(deleteTable), ...jumps.map(deleteRule), ...own.map(deleteChain)];
}
