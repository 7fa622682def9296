/**
 * Keys and data of sets and maps as rows of fields: nft's concatenations. In a concatenation each field is padded to
 * 4-byte registers; a single field is not padded.
 */
import { type Address, addressFromBytes, addressToBytes, formatAddress, isSameAddress } from "../ip/address.ts";
import { formatMac, parseMac } from "../ip/mac.ts";
import { formatPrefix, lastAddress, networkOf, type Prefix } from "../ip/prefix.ts";
import { NFT_META, NFT_NG_RANDOM } from "../netlink/nftables.ts";
import { type TypeofExpression, typeofExpressions } from "./userdata.ts";

/**
 * The fields by nft's type name (`nd_target`, for which nft has no name, is the 16 bytes of an ICMPv6 message that contain
 * the target of a neighbour solicitation or advertisement), with nft's type number (enum datatypes in nft's datatype.h) and the length in bytes.
 * Numbers are in network byte order. These are in host byte order (little-endian on all platforms that weft supports):
 * a mark, a priority (`classid`), and the result of `numgen` (`random`, for which nft has no name).
 */
const FIELD = {
  random: { type: 4, length: 4 },
  nd_target: { type: 4, length: 16 },
  ipv4_addr: { type: 7, length: 4 },
  ipv6_addr: { type: 8, length: 16 },
  ether_addr: { type: 9, length: 6 },
  inet_proto: { type: 12, length: 1 },
  inet_service: { type: 13, length: 2 },
  mark: { type: 19, length: 4 },
  classid: { type: 23, length: 4 },
  ifname: { type: 41, length: 16 },
} as const;
export type Field = keyof typeof FIELD;

/** A range in a key with ranges, including both ends, as bytes of the field's length. */
export interface FieldRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** An address or (in keys with ranges) a prefix, a number, or text for `ifname` and `ether_addr` (canonical form). */
export type FieldValue = Address | Prefix | FieldRange | number | string;

/** True for numbers in host byte order. */
export function isHostOrder(field: Field): boolean {
  return field === "mark" || field === "classid" || field === "random";
}

/** The fields for which nft has no type name. Sets with them state the `typeof` of all their fields. */
export function needsTypeof(fields: readonly Field[]): boolean {
  return fields.includes("random") || fields.includes("nd_target");
}

/**
 * The `typeof` of a field in nft's syntax, and in the encoding of nft's user data (`typeofExpressions`): payload
 * (EXPR_PAYLOAD) by protocol and field, payload without a name by base, offset and length in bits
 * after two zeros, meta (EXPR_META) by key, numgen (EXPR_NUMGEN) by type, modulus and offset. The
 * numbers are those of nft 1.0.6. Any selector of the same type prints the same elements.
 */
const TYPEOF: Readonly<Partial<Record<Field, { readonly text: string; readonly expression: TypeofExpression }>>> = {
  ipv4_addr: { text: "ip daddr", expression: [7, 12, 12] },
  ipv6_addr: { text: "ip6 daddr", expression: [7, 13, 9] },
  inet_proto: { text: "meta l4proto", expression: [9, NFT_META.l4proto] },
  inet_service: { text: "th dport", expression: [7, 11, 2] },
  classid: { text: "meta priority", expression: [9, NFT_META.packetPriority] },
  ifname: { text: "iifname", expression: [9, NFT_META.iifname] },
  nd_target: { text: "@th,64,128", expression: [7, 0, 0, 3, 64, 128] },
  random: { text: "numgen random mod 65536", expression: [23, NFT_NG_RANDOM, 65536, 0] },
};

export function typeofText(field: Field): string {
  return TYPEOF[field]?.text ?? field;
}

export function typeofFields(fields: readonly Field[]): Uint8Array {
  return typeofExpressions(
    fields.map((field) => {
      const row = TYPEOF[field];
      if (row === undefined) throw new RangeError(`nft has no typeof for the field ${field}`);
      return row.expression;
    }),
  );
}

/** The type number of a concatenation has six bits for each field (TYPE_BITS). */
const TYPE_BITS = 6;
const REGISTER_LENGTH = 4;

/** The number and the length in bytes of a tuple's type, as NFT_MSG_NEWSET states them for keys and data. */
export function tupleType(fields: readonly Field[]): { readonly type: number; readonly length: number } {
  return {
    type: fields.reduce((type, field) => (type << TYPE_BITS) | FIELD[field].type, 0),
    length: fields.reduce((sum, field) => sum + spaceOf(field, fields), 0),
  };
}

/** The length of a field without padding. */
export function fieldLength(field: Field): number {
  return FIELD[field].length;
}

function spaceOf(field: Field, fields: readonly Field[]): number {
  const { length } = FIELD[field];
  return fields.length === 1 ? length : Math.ceil(length / REGISTER_LENGTH) * REGISTER_LENGTH;
}

/**
 * Encodes a key's first value; with `isLast`, the last one that its prefixes contain. Throws `RangeError` for values of
 * other types.
 */
export function tupleBytes(fields: readonly Field[], values: readonly FieldValue[], isLast = false): Uint8Array {
  const whole = new Uint8Array(tupleType(fields).length);
  let at = 0;
  fields.forEach((field, index) => {
    const bytes = fieldBytes(field, values[index] ?? "", isLast);
    if (bytes.length !== FIELD[field].length)
      throw new RangeError(`${field}: ${bytes.length} bytes, expected ${FIELD[field].length}`);
    whole.set(bytes, at);
    at += spaceOf(field, fields);
  });
  return whole;
}

function fieldBytes(field: Field, value: FieldValue, isLast: boolean): Uint8Array {
  if (typeof value === "string") return field === "ether_addr" ? parseMac(value) : interfaceNameBytes(value);
  if (typeof value === "number") {
    const bytes = numberBytes(value, FIELD[field].length);
    return isHostOrder(field) ? bytes.reverse() : bytes;
  }
  if ("from" in value) return isLast ? value.to : value.from;
  if (!("length" in value)) return addressToBytes(value);
  return addressToBytes(isLast ? lastAddress(value) : networkOf(value).address);
}

function numberBytes(value: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (value >>> (8 * (length - 1 - at))) & 0xff);
}

/** Encodes an interface name as the kernel compares it: padded with NUL. Throws `RangeError` if it is too long. */
export function interfaceNameBytes(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  const { length } = FIELD.ifname;
  if (bytes.length >= length) throw new RangeError(`"${name}": an interface name has at most ${length - 1} bytes`);
  const padded = new Uint8Array(length);
  padded.set(bytes);
  return padded;
}

/**
 * Parses the values of a key (or data). If the key has an end, its addresses are prefixes, or ranges if they are not a
 * prefix. Returns `undefined` if it has other fields.
 */
export function readTupleBytes(
  fields: readonly Field[],
  first: Uint8Array | undefined,
  last?: Uint8Array,
): FieldValue[] | undefined {
  const { length } = tupleType(fields);
  if (first?.length !== length || (last !== undefined && last.length !== length)) return undefined;
  let at = 0;
  const values: FieldValue[] = [];
  for (const field of fields) {
    const end = at + FIELD[field].length;
    values.push(readField(field, first.subarray(at, end), last?.subarray(at, end)));
    at += spaceOf(field, fields);
  }
  return values;
}

function readField(field: Field, first: Uint8Array, last: Uint8Array | undefined): FieldValue {
  switch (field) {
    case "ifname":
      if (last?.some((byte, at) => byte !== first[at])) return { from: first, to: last };
      return new TextDecoder().decode(first).replace(/\0.*$/s, "");
    case "ether_addr":
      return formatMac(first);
    case "inet_service":
      if (last?.some((byte, at) => byte !== first[at])) return { from: first, to: last };
      return readNumber(first);
    case "inet_proto":
      return readNumber(first);
    case "mark":
    case "classid":
    case "random":
      return readNumber(first.toReversed());
    default:
      return last === undefined ? addressFromBytes(first) : (prefixBetween(first, last) ?? { from: first, to: last });
  }
}

function readNumber(bytes: Uint8Array): number {
  return bytes.reduce((number, byte) => (number << 8) | byte, 0);
}

function prefixBetween(first: Uint8Array, last: Uint8Array): Prefix | undefined {
  const address = addressFromBytes(first);
  const at = first.findIndex((byte, index) => byte !== last[index]);
  if (at < 0) return { address, length: 8 * first.length };
  const difference = (first[at] ?? 0) ^ (last[at] ?? 0);
  const prefix = { address, length: 8 * at + Math.clz32(difference) - 24 };
  const isWhole = isSameAddress(networkOf(prefix).address, address);
  return isWhole && isSameAddress(lastAddress(prefix), addressFromBytes(last)) ? prefix : undefined;
}

/** True for a prefix, which occurs only in a key with an end; a key without one has addresses instead. */
export function isPrefixValue(value: FieldValue | undefined): value is Prefix {
  return typeof value === "object" && "length" in value;
}

/**
 * Formats a tuple in nft's syntax; a range of names as its first and last name, with unprintable characters replaced.
 */
export function tupleText(fields: readonly Field[], values: readonly FieldValue[]): string {
  return values.map((value, at) => valueText(fields[at], value)).join(" . ");
}

const PROTOCOL_NAME: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };

function valueText(field: Field | undefined, value: FieldValue): string {
  if (typeof value === "string") return field === "ifname" ? `"${value}"` : value;
  if (typeof value === "object" && "from" in value) {
    return value.from.every((byte) => byte === 0) && value.to.every((byte) => byte === 0xff)
      ? "*"
      : [value.from, value.to].map((bytes) => boundText(field, bytes)).join("-");
  }
  if (typeof value !== "number") return "length" in value ? formatPrefix(value) : formatAddress(value);
  return (field === "inet_proto" ? PROTOCOL_NAME[value] : undefined) ?? String(value);
}

function boundText(field: Field | undefined, bytes: Uint8Array): string {
  if (field === "inet_service") return String(readNumber(bytes));
  if (field !== "ifname") return formatAddress(addressFromBytes(bytes));
  return `"${[...bytes].map((byte) => (byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : byte === 0 ? "" : "?")).join("")}"`;
}
