/**
 * Statements that store values: numbers in the packet's priority, and elements that rules add to maps
 * (net/netfilter/nft_dynset.c).
 */
import { type Expression, NFT_CMP, NFT_DYNSET_OP, NFT_HASH_JENKINS, NFT_META, NFT_REG } from "../netlink/nftables.ts";
import { hexadecimal, hostOrder, type Statement } from "./expressions.ts";
import { loadRow, packetPriority, registerAt, rowLength, rowText, type Selector } from "./selector.ts";

/** Sets the packet's priority to the data of the map element. The rule ends if the map has no such key. */
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

/** Sets the packet's priority to the default, 0. */
export const resetPriority: Statement = {
  text: "meta priority set none",
  expressions: [
    { kind: "immediate", data: { dreg: NFT_REG.r1, data: { value: hostOrder(0) } } },
    { kind: "meta", data: { key: NFT_META.packetPriority, sreg: NFT_REG.r1 } },
  ],
};

/** Matches if the packet's priority is not the default, 0. */
export const matchAnyPriority: Statement = {
  text: "meta priority != none",
  expressions: [
    packetPriority.load(NFT_REG.r1),
    { kind: "cmp", data: { sreg: NFT_REG.r1, op: NFT_CMP.neq, data: { value: hostOrder(0) } } },
  ],
};

/** An element of a dynamic map; `key` selects its key from the packet. */
export interface DynamicEntry {
  readonly map: string;
  readonly key: readonly Selector[];
}

/** The parameters of a hash over a row of selectors. */
export interface HashOptions {
  readonly seed: number;
  /** The result is in [offset, offset + modulus). */
  readonly modulus: number;
  readonly offset: number;
}

/**
 * Extends the timeout of an existing element to `timeoutMs` from now, and keeps its data. If there is no such element,
 * adds one with a hash of `hashed` as its data; the rule ends if the map is full.
 */
export function renewEntry(
  { map, key }: DynamicEntry,
  timeoutMs: number,
  hashed: readonly Selector[],
  { seed, modulus, offset }: HashOptions,
): Statement {
  // The values are stored without gaps, because IPv6 leaves no spare registers.
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

/** Removes an element if it exists. The kernel requires a data register but does not read it. */
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
