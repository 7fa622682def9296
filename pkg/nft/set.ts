/**
 * Sets and maps as data, and the encoding of their elements (include/uapi/linux/netfilter/nf_tables.h).
 */
import {
  type Address,
  addressBits,
  addressFromBytes,
  addressToBytes,
  type Family,
  formatAddress,
} from "../ip/address.ts";
import { formatPrefix, type Prefix } from "../ip/prefix.ts";
import { mergeSpans, prefixSpan, type Span } from "../ip/span.ts";
import { NFT_SET, NFT_SET_ELEM_INTERVAL_END, type NftData, type SetElement, VERDICT } from "../netlink/nftables.ts";
import {
  type Field,
  type FieldValue,
  fieldLength,
  isHostOrder,
  isPrefixValue,
  needsTypeof,
  readTupleBytes,
  tupleBytes,
  tupleText,
  tupleType,
  typeofFields,
  typeofText,
} from "./tuple.ts";
import { commentUserdata, readComment, setUserdata } from "./userdata.ts";

interface Named {
  readonly name: string;
  readonly comment: string;
}

interface OfFamily extends Named {
  readonly family: Family;
}

/** A set of single addresses; the kernel uses a hash. */
export interface AddressSet extends OfFamily {
  readonly kind: "addresses";
  readonly elements: readonly AddressElement[];
}

export interface AddressElement {
  readonly address: Address;
  readonly comment?: string;
  /** The complete user data of the element, instead of a comment. */
  readonly userdata?: Uint8Array | undefined;
}

/** A set of ranges. Adjacent and overlapping ranges are merged, so elements have no comments. */
export interface PrefixSet extends OfFamily {
  readonly kind: "prefixes";
  readonly elements: readonly Prefix[];
}

/** A set of ranges that need not be prefixes. Adjacent and overlapping ranges are merged. */
export interface SpanSet extends OfFamily {
  readonly kind: "spans";
  readonly elements: readonly Span[];
}

/** A set of source addresses with ranges of destinations (a concatenation with intervals: Linux 5.6). */
export interface PairSet extends OfFamily {
  readonly kind: "pairs";
  readonly elements: readonly PairElement[];
}

export interface PairElement {
  readonly source: Address;
  readonly destination: Prefix;
  readonly comment?: string;
}

/** A set with keys of one or more fields; with `data`, a map. */
export interface TupleSet extends Named {
  readonly kind: "tuples";
  readonly fields: readonly Field[];
  /**
   * Addresses in keys may be prefixes (a concatenation with intervals: Linux 5.6). Without ranges the kernel uses a
   * hash.
   */
  readonly hasRanges?: boolean;
  /** The type of a map's data: a row of fields, or a verdict. */
  readonly data?: readonly Field[] | "verdict";
  /**
   * Rules add the elements. Each element expires after the time in the rule, by default `timeoutMs`. The set never has
   * more than `size` elements.
   */
  readonly dynamic?: { readonly size: number; readonly timeoutMs: number };
  /**
   * The maximum number of elements. Lookups are then faster: the kernel uses a hash table that never grows, and for keys
   * of four bytes a special one (nft_hash_fast_ops in net/netfilter/nft_set_hash.c). Not together with `dynamic`.
   */
  readonly size?: number;
  /** Each element counts its packets. */
  readonly hasCounters?: boolean;
  readonly elements: readonly TupleElement[];
}

export interface TupleElement {
  readonly values: readonly FieldValue[];
  /** In a verdict map, the chain to jump to, or to go to without returning. */
  readonly data?: readonly FieldValue[] | Jump | Goto;
  readonly comment?: string;
  /** The complete user data of the element, which contains the comment. */
  readonly userdata?: Uint8Array;
}

export interface Jump {
  readonly jump: string;
}

export interface Goto {
  readonly goto: string;
}

export type NftSet = AddressSet | PrefixSet | SpanSet | PairSet | TupleSet;

/** NFT_DATA_VERDICT: the data type of a map whose elements are verdicts. */
const VERDICT_DATA = 0xffff_ff00;

const addressField = (family: Family) => `ipv${family}_addr` as const;

function asTuples({ family, elements, ...named }: PairSet): TupleSet {
  return {
    ...named,
    kind: "tuples",
    fields: [addressField(family), addressField(family)],
    hasRanges: true,
    elements: elements.map(({ source, destination, ...rest }) => ({ values: [source, destination], ...rest })),
  };
}

/** The attributes of NFT_MSG_NEWSET about keys and data. */
export function keyAttributes(set: NftSet) {
  switch (set.kind) {
    case "addresses":
    case "prefixes":
    case "spans": {
      const { type, length } = tupleType([addressField(set.family)]);
      return { flags: set.kind === "addresses" ? 0 : NFT_SET.interval, keyType: type, keyLength: length };
    }
    case "pairs":
      return tupleAttributes(asTuples(set));
    case "tuples":
      return tupleAttributes(set);
  }
}

function tupleAttributes({ fields, hasRanges = false, data, dynamic, size }: TupleSet) {
  const { type, length } = tupleType(fields);
  const flags =
    (hasRanges ? NFT_SET.interval | NFT_SET.concat : 0) |
    (data === undefined ? 0 : NFT_SET.map) |
    (dynamic === undefined ? 0 : NFT_SET.dynamic | NFT_SET.timeout);
  return {
    ...{ flags, keyType: type, keyLength: length },
    ...(hasRanges ? { description: { concat: fields.map((field) => ({ length: fieldLength(field) })) } } : {}),
    ...(data === undefined ? {} : dataAttributes(data)),
    ...(size === undefined ? {} : { description: { size } }),
    ...(dynamic === undefined ? {} : { description: { size: dynamic.size }, timeout: BigInt(dynamic.timeoutMs) }),
  };
}

const COUNTER = { kind: "counter", data: {} } as const;

/** The attributes of NFT_MSG_NEWSET about the state of elements. */
export function stateAttributes(set: NftSet) {
  return set.kind === "tuples" && set.hasCounters === true ? { expression: COUNTER } : {};
}

/** The set's user data, from which nft learns how to print it. */
export function userdataOf(set: NftSet): Uint8Array {
  if (set.kind !== "tuples") return setUserdata(set.comment);
  const { fields, data } = set;
  const dataFields = data === "verdict" ? undefined : data;
  const isHost = (all: readonly Field[]) => all.every((field) => field === "ifname" || isHostOrder(field));
  const isTypeof = needsTypeof(fields);
  return setUserdata(set.comment, {
    isHostOrder: isHost(fields),
    isDataHostOrder: dataFields !== undefined && isHost(dataFields),
    ...(isTypeof && { keyTypeof: typeofFields(fields) }),
    ...(isTypeof && dataFields !== undefined && { dataTypeof: typeofFields(dataFields) }),
  });
}

function dataAttributes(data: readonly Field[] | "verdict") {
  if (data === "verdict") return { dataType: VERDICT_DATA };
  const { type, length } = tupleType(data);
  return { dataType: type, dataLength: length };
}

/** Encodes the elements. */
export function wireElements(set: NftSet): SetElement[] {
  switch (set.kind) {
    case "addresses":
      return set.elements.map(({ address, comment, userdata }) => ({
        key: { value: addressToBytes(address) },
        userdata: userdata ?? commentUserdata(comment),
      }));
    case "prefixes":
      return mergeRanges(set.elements).flatMap((range) => rangeElements(set.family, range));
    case "spans":
      return mergeSpans(set.elements).flatMap((range) => rangeElements(set.family, range));
    case "pairs":
      return wireElements(asTuples(set));
    case "tuples":
      return set.elements.map((element) => wireTuple(set, element));
  }
}

function wireTuple(
  { fields, hasRanges = false, data, hasCounters = false }: TupleSet,
  element: TupleElement,
): SetElement {
  return {
    key: { value: tupleBytes(fields, element.values) },
    ...(hasRanges ? { keyEnd: { value: tupleBytes(fields, element.values, true) } } : {}),
    ...(data === undefined || element.data === undefined ? {} : { data: wireData(data, element.data) }),
    ...(hasCounters ? { expression: COUNTER } : {}),
    userdata: element.userdata ?? commentUserdata(element.comment),
  };
}

function wireData(fields: readonly Field[] | "verdict", data: readonly FieldValue[] | Jump | Goto): NftData {
  if ("goto" in data) return { verdict: { code: VERDICT.goto >>> 0, chain: data.goto } };
  if ("jump" in data) return { verdict: { code: VERDICT.jump >>> 0, chain: data.jump } };
  if (fields === "verdict") throw new RangeError("the data of a verdict map must be a verdict");
  return { value: tupleBytes(fields, data) };
}

/** Limits the length of error messages. */
const LISTED_ELEMENTS = 16;

/** Formats the elements in nft's syntax; of a long set, only the first ones. */
export function elementsText(set: NftSet): string {
  const comment = (text: string | undefined) => (text === undefined ? "" : ` comment "${text}"`);
  const words = firstElementWords(set, comment);
  const rest = set.elements.length - words.length;
  return `{ ${words.join(", ")}${rest > 0 ? ` and ${rest} more` : ""} }`;
}

function firstElementWords(set: NftSet, comment: (text: string | undefined) => string): string[] {
  switch (set.kind) {
    case "addresses":
      return set.elements
        .slice(0, LISTED_ELEMENTS)
        .map((element) => `${formatAddress(element.address)}${comment(element.comment)}`);
    case "prefixes":
      return set.elements.slice(0, LISTED_ELEMENTS).map(formatPrefix);
    case "spans":
      return set.elements
        .slice(0, LISTED_ELEMENTS)
        .map(({ first, last }) =>
          [...new Set([first, last])].map((value) => formatAddress({ family: set.family, value })).join("-"),
        );
    case "pairs":
      return firstElementWords(asTuples({ ...set, elements: set.elements.slice(0, LISTED_ELEMENTS) }), comment);
    case "tuples":
      return set.elements.slice(0, LISTED_ELEMENTS).map((element) => {
        const key = `${tupleText(set.fields, element.values)}${comment(element.comment)}`;
        return element.data === undefined ? key : `${key} : ${dataText(set, element.data)}`;
      });
  }
}

function dataText({ data: fields }: TupleSet, data: readonly FieldValue[] | Jump | Goto): string {
  if ("goto" in data) return `goto ${data.goto}`;
  if ("jump" in data) return `jump ${data.jump}`;
  return tupleText(fields === undefined || fields === "verdict" ? [] : fields, data);
}

/** Formats a set's type in nft's syntax. */
export function keyText(set: NftSet): string {
  if (set.kind === "pairs") return keyText(asTuples(set));
  if (set.kind !== "tuples") {
    return `type ${addressField(set.family)};${set.kind === "addresses" ? "" : " flags interval;"}`;
  }
  const { fields, data, hasRanges, dynamic, size, hasCounters } = set;
  const isTypeof = needsTypeof(fields);
  const names = (all: readonly Field[]) => all.map((field) => (isTypeof ? typeofText(field) : field)).join(" . ");
  const to = data === undefined ? "" : ` : ${data === "verdict" ? data : names(data)}`;
  return [
    `${isTypeof ? "typeof" : "type"} ${names(fields)}${to};`,
    ...(hasRanges ? ["flags interval;"] : []),
    ...(size === undefined ? [] : [`size ${size};`]),
    ...(dynamic ? [`flags dynamic,timeout; size ${dynamic.size}; timeout ${dynamic.timeoutMs}ms;`] : []),
    ...(hasCounters ? ["counter;"] : []),
  ].join(" ");
}

/** Parses an element of a `TupleSet`. Returns `undefined` if its key or its data has other fields. */
export function readTuple(
  { fields, data: dataFields }: Pick<TupleSet, "fields" | "data">,
  { key, keyEnd, data, userdata }: SetElement,
): TupleElement | undefined {
  const values = readTupleBytes(fields, key?.value, keyEnd?.value);
  const read = dataFields === undefined ? undefined : readData(dataFields, data);
  if (values === undefined || (dataFields !== undefined && read === undefined)) return undefined;
  const comment = readComment(userdata);
  return { values, ...(read === undefined ? {} : { data: read }), ...(comment === undefined ? {} : { comment }) };
}

function readData(
  fields: readonly Field[] | "verdict",
  data: NftData = {},
): readonly FieldValue[] | Jump | Goto | undefined {
  if (fields !== "verdict") return readTupleBytes(fields, data.value);
  const { code, chain = "" } = data.verdict ?? {};
  if (code === VERDICT.goto >>> 0) return { goto: chain };
  return code === VERDICT.jump >>> 0 ? { jump: chain } : undefined;
}

/** The length of the (first) address in a key, by the key's length. */
const SOURCE_LENGTH: Readonly<Record<number, number>> = { 4: 4, 8: 4, 16: 16, 32: 16 };

/** Parses source and comment of an element of an `AddressSet` or a `PairSet`. Returns `undefined` for other keys. */
export function readElement(element: SetElement): { source: Address; comment: string | undefined } | undefined {
  const key = element.key?.value;
  const length = SOURCE_LENGTH[key?.length ?? 0];
  if (key === undefined || length === undefined) return undefined;
  return { source: addressFromBytes(key.subarray(0, length)), comment: readComment(element.userdata) };
}

/** Parses an element of a `PairSet`. Returns `undefined` if its destinations are not a prefix. */
export function readPair(element: SetElement): PairElement | undefined {
  const source = readElement(element)?.source;
  if (source === undefined || element.keyEnd === undefined) return undefined;
  const fields = [addressField(source.family), addressField(source.family)];
  const read = readTuple({ fields }, element);
  if (read === undefined) return undefined;
  const { values, ...rest } = read;
  const [, destination] = values;
  return isPrefixValue(destination) ? { source, destination, ...rest } : undefined;
}

/** Merges prefixes into the fewest spans, sorted: the kernel refuses ranges that overlap. */
export function mergeRanges(prefixes: readonly Prefix[]): Span[] {
  return mergeSpans(prefixes.map(prefixSpan));
}

/**
 * A range is two elements: its first address, and the address after its last one. A range up to the last address has no
 * end element.
 */
function rangeElements(family: Family, { first, last }: Span): SetElement[] {
  const start: SetElement = { key: { value: addressToBytes({ family, value: first }) } };
  if (last + 1n === 1n << BigInt(addressBits(family))) return [start];
  const end = addressToBytes({ family, value: last + 1n });
  return [start, { key: { value: end }, flags: NFT_SET_ELEM_INTERVAL_END }];
}
