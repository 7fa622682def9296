/**
 * The rules that flanneld 0.28 leaves in nf_tables, in its own tables and iptables-nft's, and the transaction that
 * removes them. Pure.
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

/** The tables of its nftables mode. */
const OWN_TABLES = [
  { family: NFPROTO.ip, table: "flannel-ipv4" },
  { family: NFPROTO.ip6, table: "flannel-ipv6" },
] as const;

/** The chains of its iptables mode, the chains that jump to them, and the comment of that jump. */
export const FLANNEL_CHAINS = [
  { table: "filter", entry: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward" },
  { table: "nat", entry: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq" },
] as const;

const CHAINS = [NFPROTO.ip, NFPROTO.ip6].flatMap((family) =>
  FLANNEL_CHAINS.map(({ table, entry, chain }) => ({ entry: { family, table, chain: entry }, chain })),
);

/**
 * The first queries. They have small answers, and on most nodes none from flannel. A missing object (ENOENT) counts as
 * empty.
 */
export const flannelQuestions = {
  single: (): readonly Query[] => CHAINS.map(({ entry, chain }) => chainRequest({ ...entry, chain })),
  dumps: (): readonly Query[] => [tablesDump(), ...CHAINS.map(({ entry }) => rulesDump(entry))],
};

/**
 * Returns one transaction. It is empty if no rules of flannel are left. ENOENT or EBUSY means that another program has
 * changed them since the read.
 */
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
