/**
 * Statements that remember: numbers in the packet's priority, and elements that rules add to maps (net/netfilter/nft_dynset.c).
 */
import { type Expression, NFT_DYNSET_OP, NFT_HASH_JENKINS, NFT_META, NFT_REG } from "../netlink/nftables.ts";
import { hexadecimal, hostOrder, type Statement } from "./expressions.ts";
import { loadRow, packetPriority, registerAt, rowLength, rowText, type Selector } from "./selector.ts";

/** The packet's priority becomes what the map holds; the rule ends where it has no such key. */
export function setPriorityByMap(selectors: readonly Selector[], map: string): Statement {
  return {
    text: `meta priority set ${rowText(selectors)} map @${map}`,
    expressions: [
      ...loadRow(selectors),
      { kind: "lookup", data: { set: map, sreg: NFT_REG.r1, dreg: NFT_REG.r1, flags: 0 } },
      { kind: "meta", data: { key: NFT_META.packetPriority, sreg: NFT_REG.r1 } },
    ],
  };
}

/** The priority that packets have that ask for none. */
export const resetPriority: Statement = {
  text: "meta priority set none",
  expressions: [
    { kind: "immediate", data: { dreg: NFT_REG.r1, data: { value: hostOrder(0) } } },
    { kind: "meta", data: { key: NFT_META.packetPriority, sreg: NFT_REG.r1 } },
  ],
};

/** An element of a dynamic map, by what the packet has of `key`. */
export interface DynamicEntry {
  readonly map: string;
  readonly key: readonly Selector[];
}

/** What `hashOf` makes of a row of selectors. */
export interface HashOptions {
  readonly seed: number;
  /** The number is at least `offset`, and below `offset + modulus`. */
  readonly modulus: number;
  readonly offset: number;
}

/**
 * Has an element stay for `timeoutMs` from now on, with the data that it has. Where there is none it is added, with a hash of
 * `hashed` as its data; the rule ends where the map is full.
 */
export function renewEntry(
  { map, key }: DynamicEntry,
  timeoutMs: number,
  hashed: readonly Selector[],
  { seed, modulus, offset }: HashOptions,
): Statement {
  // Behind each other without gaps: for IPv6 there are no more registers.
  const register = registerAt(rowLength(key));
  const sourceOffset = rowLength(key) + hostOrder(0).length;
  const hash = `jhash ${rowText(hashed)} mod ${modulus} seed ${hexadecimal(seed)} offset ${offset}`;
  return {
    text: `update @${map} { ${rowText(key)} timeout ${timeoutMs}ms : ${hash} }`,
    expressions: [
      ...loadRow(key),
      ...loadRow(hashed, sourceOffset),
      {
        kind: "hash",
        data: {
          ...{ sreg: registerAt(sourceOffset), dreg: register, length: rowLength(hashed) },
          ...{ modulus, seed, offset, type: NFT_HASH_JENKINS },
        },
      },
      dynset(map, NFT_DYNSET_OP.update, register, timeoutMs),
    ],
  };
}

/** Removes an element where there is one. The kernel wants data, and does not read it. */
export function deleteEntry({ map, key }: DynamicEntry): Statement {
  const register = registerAt(rowLength(key));
  return {
    text: `delete @${map} { ${rowText(key)} : ${packetPriority.text} }`,
    expressions: [...loadRow(key), packetPriority.load(register), dynset(map, NFT_DYNSET_OP.delete, register)],
  };
}

function dynset(set: string, op: number, sregData: number, timeoutMs = 0): Expression {
  const timeout = timeoutMs === 0 ? {} : { timeout: BigInt(timeoutMs) };
  return { kind: "dynset", data: { set, op, sregKey: NFT_REG.r1, sregData, ...timeout } };
}
