/**
 * Sets of addresses as data, and the form their elements have on the wire (include/uapi/linux/netfilter/nf_tables.h).
 */
import {
  type Address,
  addressBits,
  addressFromBytes,
  addressToBytes,
  type Family,
  formatAddress,
} from "../../ip/address.ts";
import { formatPrefix, lastAddress, networkOf, type Prefix } from "../../ip/prefix.ts";
import { NFT_SET, NFT_SET_ELEM_INTERVAL_END, type SetElement } from "../../netlink/nftables.ts";
import { commentUserdata, readComment } from "./userdata.ts";

interface Named {
  readonly name: string;
  readonly comment: string;
}

interface OfFamily extends Named {
  readonly family: Family;
}

/** Single addresses, found by hash. */
export interface AddressSet extends OfFamily {
  readonly kind: "addresses";
  readonly elements: readonly { readonly address: Address; readonly comment?: string }[];
}

/** Ranges; those that touch or overlap become one, so they carry no comments. */
export interface PrefixSet extends OfFamily {
  readonly kind: "prefixes";
  readonly elements: readonly Prefix[];
}

/** A source address with a range of destinations (a concatenation with intervals: Linux 5.6). */
export interface PairSet extends OfFamily {
  readonly kind: "pairs";
  readonly elements: readonly PairElement[];
}

export interface PairElement {
  readonly source: Address;
  readonly destination: Prefix;
  readonly comment?: string;
}

/** Keys of one or more fields, each a single value, found by hash. */
export interface TupleSet extends Named {
  readonly kind: "tuples";
  readonly fields: readonly KeyField[];
  readonly elements: readonly TupleElement[];
}

export interface TupleElement {
  /** An address for an address field, a name for `ifname`. */
  readonly values: readonly (Address | string)[];
  readonly comment?: string;
}

export type NftSet = AddressSet | PrefixSet | PairSet | TupleSet;

/** nft's numbers of its data types (TYPE_IPADDR, TYPE_IP6ADDR); a concatenation shifts by six bits (TYPE_BITS). */
const DATA_TYPE = { 4: 7, 6: 8 } as const;
const TYPE_BITS = 6;

/** nft's name of a field's type, its number (TYPE_IFNAME) and its length in a key, in bytes (IFNAMSIZ). */
const KEY_FIELD = {
  ipv4_addr: { type: DATA_TYPE[4], length: 4 },
  ipv6_addr: { type: DATA_TYPE[6], length: 16 },
  ifname: { type: 41, length: 16 },
} as const;
export type KeyField = keyof typeof KEY_FIELD;

/** What NFT_MSG_NEWSET says about the key. */
export function keyAttributes(set: NftSet) {
  if (set.kind === "tuples") {
    const fields = set.fields.map((name) => KEY_FIELD[name]);
    return {
      flags: 0,
      keyType: fields.reduce((type, field) => (type << TYPE_BITS) | field.type, 0),
      keyLength: fields.reduce((sum, { length }) => sum + length, 0),
    };
  }
  const { kind, family } = set;
  const type = DATA_TYPE[family];
  const length = addressBits(family) / 8;
  if (kind !== "pairs") {
    return { flags: kind === "prefixes" ? NFT_SET.interval : 0, keyType: type, keyLength: length };
  }
  return {
    flags: NFT_SET.interval | NFT_SET.concat,
    keyType: (type << TYPE_BITS) | type,
    keyLength: 2 * length,
    description: { concat: [{ length }, { length }] },
  };
}

/** The elements as the kernel takes them. */
export function wireElements(set: NftSet): SetElement[] {
  switch (set.kind) {
    case "addresses":
      return set.elements.map(({ address, comment }) => ({
        key: { value: addressToBytes(address) },
        userdata: commentUserdata(comment),
      }));
    case "prefixes":
      return mergeRanges(set.elements).flatMap((range) => rangeElements(set.family, range));
    case "pairs":
      return set.elements.map(pairElement);
    case "tuples":
      return set.elements.map(({ values, comment }) => ({
        key: { value: tupleKey(set.fields, values) },
        userdata: commentUserdata(comment),
      }));
  }
}

function tupleKey(fields: readonly KeyField[], values: TupleElement["values"]): Uint8Array {
  return Uint8Array.from(
    fields.flatMap((field, at) => {
      const value = values[at] ?? "";
      const bytes = typeof value === "string" ? interfaceNameBytes(value) : addressToBytes(value);
      if (bytes.length !== KEY_FIELD[field].length) throw new RangeError(`${field}: ${bytes.length} bytes`);
      return [...bytes];
    }),
  );
}

/** As the kernel compares names of interfaces: filled up with NUL. Throws `RangeError` for one too long. */
export function interfaceNameBytes(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  const { length } = KEY_FIELD.ifname;
  if (bytes.length >= length) throw new RangeError(`"${name}": a name of an interface has at most ${length - 1} bytes`);
  const padded = new Uint8Array(length);
  padded.set(bytes);
  return padded;
}

function pairElement({ source, destination, comment }: PairElement): SetElement {
  const own = addressToBytes(source);
  const first = addressToBytes(networkOf(destination).address);
  const last = addressToBytes(lastAddress(destination));
  return {
    key: { value: Uint8Array.of(...own, ...first) },
    keyEnd: { value: Uint8Array.of(...own, ...last) },
    userdata: commentUserdata(comment),
  };
}

/** More than an error message should list. */
const LISTED_ELEMENTS = 16;

/** The elements in nft's words, the first few of many. */
export function elementsText(set: NftSet): string {
  const comment = (text: string | undefined) => (text === undefined ? "" : ` comment "${text}"`);
  const words = elementWords(set, comment);
  const rest = words.length - LISTED_ELEMENTS;
  return `{ ${words.slice(0, LISTED_ELEMENTS).join(", ")}${rest > 0 ? ` and ${rest} more` : ""} }`;
}

function elementWords(set: NftSet, comment: (text: string | undefined) => string): string[] {
  switch (set.kind) {
    case "addresses":
      return set.elements.map((element) => `${formatAddress(element.address)}${comment(element.comment)}`);
    case "prefixes":
      return set.elements.map(formatPrefix);
    case "pairs":
      return set.elements.map(
        (element) =>
          `${formatAddress(element.source)} . ${formatPrefix(element.destination)}${comment(element.comment)}`,
      );
    case "tuples":
      return set.elements.map(({ values, comment: text }) => {
        const key = values.map((value) => (typeof value === "string" ? `"${value}"` : formatAddress(value)));
        return `${key.join(" . ")}${comment(text)}`;
      });
  }
}

/** A set's type in nft's words. */
export function keyText(set: NftSet): string {
  if (set.kind === "tuples") return `type ${set.fields.join(" . ")};`;
  const { kind, family } = set;
  const type = `ipv${family}_addr`;
  if (kind === "addresses") return `type ${type};`;
  return `type ${kind === "pairs" ? `${type} . ${type}` : type}; flags interval;`;
}

/** The values and the comment of an element of a `TupleSet` with these fields; `undefined` for a key of another length. */
export function readTuple(fields: readonly KeyField[], element: SetElement): TupleElement | undefined {
  const key = element.key?.value;
  if (key?.length !== fields.reduce((sum, field) => sum + KEY_FIELD[field].length, 0)) return undefined;
  let at = 0;
  const values = fields.map((field) => {
    const bytes = key.subarray(at, at + KEY_FIELD[field].length);
    at += bytes.length;
    return field === "ifname" ? new TextDecoder().decode(bytes).replace(/\0.*$/s, "") : addressFromBytes(bytes);
  });
  const comment = readComment(element.userdata);
  return comment === undefined ? { values } : { values, comment };
}

/** The length of the (first) address in a key, by the key's length. */
const SOURCE_LENGTH: Readonly<Record<number, number>> = { 4: 4, 8: 4, 16: 16, 32: 16 };

/** Source and comment of an element of an `AddressSet` or a `PairSet` read back; `undefined` for other keys. */
export function readElement(element: SetElement): { source: Address; comment: string | undefined } | undefined {
  const key = element.key?.value;
  const length = SOURCE_LENGTH[key?.length ?? 0];
  if (key === undefined || length === undefined) return undefined;
  return { source: addressFromBytes(key.subarray(0, length)), comment: readComment(element.userdata) };
}

/** An element of a `PairSet` read back; `undefined` where its destinations are no prefix. */
export function readPair(element: SetElement): PairElement | undefined {
  const key = element.key?.value;
  const keyEnd = element.keyEnd?.value;
  const read = readElement(element);
  if (key === undefined || read === undefined || keyEnd?.length !== key.length) return undefined;
  const { source, comment } = read;
  const half = addressBits(source.family) / 8;
  if (key.length !== 2 * half) return undefined;
  const first = addressFromBytes(key.subarray(half));
  const hostMask = first.value ^ addressFromBytes(keyEnd.subarray(half)).value;
  const hostBits = hostMask === 0n ? 0 : hostMask.toString(2).length;
  const isPrefix = hostMask === (1n << BigInt(hostBits)) - 1n && (first.value & hostMask) === 0n;
  if (!isPrefix) return undefined;
  const destination = { address: first, length: addressBits(source.family) - hostBits };
  return comment === undefined ? { source, destination } : { source, destination, comment };
}

/** Both ends belong to it. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/** The fewest ranges that hold the same addresses, in order: the kernel refuses ranges that overlap. */
export function mergeRanges(prefixes: readonly Prefix[]): Range[] {
  const ranges = prefixes
    .map((prefix) => ({ first: networkOf(prefix).address.value, last: lastAddress(prefix).value }))
    .sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const merged: Range[] = [];
  for (const range of ranges) {
    const previous = merged.at(-1);
    if (previous === undefined || range.first > previous.last + 1n) {
      merged.push(range);
    } else if (range.last > previous.last) {
      merged[merged.length - 1] = { first: previous.first, last: range.last };
    }
  }
  return merged;
}

/** A range is two elements: its first address, and the one behind its last. What ends with the address space has no end. */
function rangeElements(family: Family, { first, last }: Range): SetElement[] {
  const start: SetElement = { key: { value: addressToBytes({ family, value: first }) } };
  if (last + 1n === 1n << BigInt(addressBits(family))) return [start];
  const end = addressToBytes({ family, value: last + 1n });
  return [start, { key: { value: end }, flags: NFT_SET_ELEM_INTERVAL_END }];
}
