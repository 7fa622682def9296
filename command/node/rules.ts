/** nf_tables' rules of the node, read as they are asked for. */

import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { decode, dumpRequest } from "../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM, type SetElement } from "../../pkg/netlink/nftables.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import {
  type ChainPlace,
  chainsDump,
  isBaseChain,
  type NftChain,
  type NftRule,
  readChains,
  readRules,
  rulesDump,
  type TablePlace,
} from "../../pkg/nft/ruleset.ts";
import type { Ruleset } from "../../pkg/packet-walk/ruleset.ts";

export type NodeRules = Ruleset & {
  /** Base chains and others. */
  readonly chains: readonly NftChain[];
};

/** Reads the rules of each chain and the elements of each set once, when they are first asked for. */
export function openRules(netfilter: BlockingNetlink): NodeRules {
  const families = [NFPROTO.ip, NFPROTO.ip6, NFPROTO.inet];
  const dumped = readRuleset(netfilter, families.map(chainsDump));
  const rules = new Map<string, readonly NftRule[]>();
  const elements = new Map<string, readonly SetElement[] | undefined>();
  return {
    bases: readChains(dumped.filter(isBaseChain)),
    chains: readChains(dumped),
    rulesOf: (chain) => remembered(rules, keyOf(chain), () => readRules(readRuleset(netfilter, [rulesDump(chain)]))),
    elementsOf: (table, set) =>
      remembered(elements, `${table.family} ${table.table} ${set}`, () => readElements(netfilter, table, set)),
  };
}

function keyOf({ family, table, chain }: ChainPlace): string {
  return `${family} ${table} ${chain}`;
}

function remembered<T>(memory: Map<string, T>, key: string, read: () => T): T {
  if (!memory.has(key)) memory.set(key, read());
  return memory.get(key) as T;
}

function readElements(
  netfilter: BlockingNetlink,
  { family, table }: TablePlace,
  set: string,
): readonly SetElement[] | undefined {
  try {
    const dump = dumpRequest(NFT_MSG_GETSETELEM, `nft list set ${table} ${set}`, { family }, { table, set });
    return netfilter.dump(dump).flatMap((message) => decode(NFT_MSG_NEWSETELEM, message).attributes.elements ?? []);
  } catch (error) {
    // A set whose element expressions weft does not know is one that cannot be told.
    if (isNetlinkError(error, "ENOENT", "EINVAL")) return undefined;
    throw error;
  }
}
