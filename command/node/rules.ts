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
  NFT_SET_ELEM_INTERVAL_END,
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
  const shapes = new Map<string, SetShape | undefined>();
  const shapeOf = (table: TablePlace, set: string) =>
    remembered(shapes, setKey(table, set), () => readShape(netfilter, table, set));
  return {
    bases: readChains(dumped.filter(isBaseChain)),
    chains: readChains(dumped),
    rulesOf: (chain) => remembered(rules, keyOf(chain), () => readRules(readRuleset(netfilter, [rulesDump(chain)]))),
    elementsOf: (table, set) =>
      remembered(elements, setKey(table, set), () => {
        const found = readElements(netfilter, table, set);
        return found && withEnds(found, shapeOf(table, set));
      }),
    elementOf: (table, set, registers) => {
      const shape = shapeOf(table, set);
      if (shape === undefined || shape.hasRanges) return undefined;
      return readElement(netfilter, table, set, registers.slice(0, shape.keyLength));
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

interface SetShape {
  readonly keyLength: number;
  readonly hasRanges: boolean;
}

/** Undefined if the set cannot be read. */
function readShape(netfilter: BlockingNetlink, { family, table }: TablePlace, set: string): SetShape | undefined {
  const question = query(NFT_MSG_GETSET, `nft -t list set ${table} ${set}`, { family }, { table, name: set });
  const [reply] = netfilter.exchange([question]);
  const [message] = reply?.messages ?? [];
  if (message === undefined) return undefined;
  const { flags = 0, keyLength } = decode(NFT_MSG_NEWSET, message).attributes;
  return keyLength === undefined ? undefined : { keyLength, hasRanges: (flags & NFT_SET.interval) !== 0 };
}

/**
 * A range up to the last key has no end element. If a set of ranges has no end at all, adds one before the first key, so
 * that the elements show that they are ranges.
 */
function withEnds(elements: readonly SetElement[], shape: SetShape | undefined): readonly SetElement[] {
  const isEnd = ({ flags = 0, keyEnd }: SetElement) =>
    (flags & NFT_SET_ELEM_INTERVAL_END) !== 0 || keyEnd !== undefined;
  if (shape?.hasRanges !== true || elements.length === 0 || elements.some(isEnd)) return elements;
  return [{ key: { value: new Uint8Array(shape.keyLength) }, flags: NFT_SET_ELEM_INTERVAL_END }, ...elements];
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
