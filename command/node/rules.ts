/** Reads the node's rules of nf_tables on demand. */

import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { decode, dumpRequest, query } from "../../pkg/netlink/message.ts";
import {
  NFPROTO,
  NFT_MSG_GETSET,
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_SET,
  type SetElement,
} from "../../pkg/netlink/nftables.ts";
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
import type { Known } from "../../pkg/packet-walk/packet.ts";
import type { Ruleset } from "../../pkg/packet-walk/ruleset.ts";

export type NodeRules = Ruleset & {
  /** Base chains and other chains. */
  readonly chains: readonly NftChain[];
};

/** Reads the rules of each chain and the elements of each set once, on first use. */
export function openRules(netfilter: BlockingNetlink): NodeRules {
  const families = [NFPROTO.ip, NFPROTO.ip6, NFPROTO.inet];
  const dumped = readRuleset(netfilter, families.map(chainsDump));
  const rules = new Map<string, readonly NftRule[]>();
  const elements = new Map<string, readonly SetElement[] | undefined>();
  const keyLengths = new Map<string, number | undefined>();
  return {
    bases: readChains(dumped.filter(isBaseChain)),
    chains: readChains(dumped),
    rulesOf: (chain) => remembered(rules, keyOf(chain), () => readRules(readRuleset(netfilter, [rulesDump(chain)]))),
    elementsOf: (table, set) => remembered(elements, setKey(table, set), () => readElements(netfilter, table, set)),
    elementOf: (table, set, registers) => {
      const length = remembered(keyLengths, setKey(table, set), () => exactKeyLength(netfilter, table, set));
      return length === undefined ? undefined : readElement(netfilter, table, set, registers.slice(0, length));
    },
  };
}

function setKey({ family, table }: TablePlace, set: string): string {
  return `${family} ${table} ${set}`;
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
    // Elements with expressions that weft does not know cannot be read.
    if (isNetlinkError(error, "ENOENT", "EINVAL")) return undefined;
    throw error;
  }
}

/** Returns the length in bytes. Undefined for sets of ranges, and if the set cannot be read. */
function exactKeyLength(netfilter: BlockingNetlink, { family, table }: TablePlace, set: string): number | undefined {
  const question = query(NFT_MSG_GETSET, `nft -t list set ${table} ${set}`, { family }, { table, name: set });
  const [reply] = netfilter.exchange([question]);
  const [message] = reply?.messages ?? [];
  if (message === undefined) return undefined;
  const { flags = 0, keyLength } = decode(NFT_MSG_NEWSET, message).attributes;
  return (flags & NFT_SET.interval) === 0 ? keyLength : undefined;
}

/** Null if the set has no such element. Undefined if the key is not fully known. */
function readElement(
  netfilter: BlockingNetlink,
  { family, table }: TablePlace,
  set: string,
  key: Known,
): SetElement | null | undefined {
  if (key.includes(undefined)) return undefined;
  const value = Uint8Array.from(key as readonly number[]);
  const question = query(
    NFT_MSG_GETSETELEM,
    `nft get element ${table} ${set}`,
    { family },
    { table, set, elements: [{ key: { value } }] },
  );
  const [reply] = netfilter.exchange([question]);
  if (reply?.error !== undefined) return isNetlinkError(reply.error, "ENOENT") ? null : undefined;
  const [message] = reply?.messages ?? [];
  return message === undefined ? undefined : decode(NFT_MSG_NEWSETELEM, message).attributes.elements?.[0];
}
