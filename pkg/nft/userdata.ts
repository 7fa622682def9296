/**
 * The user data that nft stores with an object: a list of one byte type, one byte length, and the value (libnftnl's
 * udata; the types are in libnftnl/udata.h). The kernel stores it without interpreting it.
 */
import { DIGEST_USERDATA, RULE_HANDLES_USERDATA, STAMP_USERDATA } from "../footprint.ts";

/** NFTNL_UDATA_{TABLE,CHAIN,RULE,SET_ELEM}_COMMENT are all 0. */
const COMMENT = 0;
const SET_KEY_BYTE_ORDER = 0;
const SET_DATA_BYTE_ORDER = 1;
const SET_KEY_TYPEOF = 3;
const SET_DATA_TYPEOF = 4;
const SET_COMMENT = 7;
/** nft's BYTEORDER_HOST_ENDIAN and BYTEORDER_BIG_ENDIAN. */
const HOST_ENDIAN = 1;
const BIG_ENDIAN = 2;
const HANDLE_LENGTH = 8;
/** The length of a stamp without parts. */
const STAMP_LENGTH = 8;
/** NFTNL_UDATA_COMMENT_MAXLEN, which includes the NUL. */
const LONGEST_COMMENT = 128;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * The user data of a table, chain, rule or element with a comment; `undefined` without one. Throws `RangeError` if the
 * comment exceeds 127 bytes.
 */
export function commentUserdata(comment: string | undefined): Uint8Array | undefined {
  return comment === undefined ? undefined : field(COMMENT, text(comment));
}

/**
 * The user data of a set: its comment, and the byte order of its key, without which nft prints keys reversed. For nft,
 * names, marks and priorities are in host byte order, and everything else is in network byte order.
 */
export function setUserdata(
  comment: string,
  { isHostOrder = false, isDataHostOrder = false, keyTypeof, dataTypeof }: SetUserdata = {},
): Uint8Array {
  const order = (type: number, isHost: boolean) => field(type, word(isHost ? HOST_ENDIAN : BIG_ENDIAN));
  return [
    ...(isDataHostOrder ? [order(SET_DATA_BYTE_ORDER, true)] : []),
    ...(keyTypeof === undefined ? [] : [field(SET_KEY_TYPEOF, keyTypeof)]),
    ...(dataTypeof === undefined ? [] : [field(SET_DATA_TYPEOF, dataTypeof)]),
    field(SET_COMMENT, text(comment)),
  ].reduce(concatenate, order(SET_KEY_BYTE_ORDER, isHostOrder));
}

export interface SetUserdata {
  /** True if keys (or data) are numbers in host byte order, or names. */
  readonly isHostOrder?: boolean;
  readonly isDataHostOrder?: boolean;
  /** The `typeof` of keys and data (`typeofFields`), for types without a name in nft. */
  readonly keyTypeof?: Uint8Array | undefined;
  readonly dataTypeof?: Uint8Array | undefined;
}

/** An expression by its number in nft (enum expr_types), with its parameters in the order of nft 1.0.6. */
export type TypeofExpression = readonly [kind: number, ...parameters: readonly number[]];

/** EXPR_CONCAT */
const EXPR_CONCAT = 13;

/** Encodes the `typeof` of one expression, or of a concatenation of several. */
export function typeofExpressions(expressions: readonly TypeofExpression[]): Uint8Array {
  const [first, ...rest] = expressions.map(typeofExpression);
  if (first === undefined) throw new RangeError("typeof needs at least one expression");
  if (rest.length === 0) return first;
  const parts = [first, ...rest].map((bytes, at) => field(at, bytes));
  return concatenate(field(0, word(EXPR_CONCAT)), field(1, parts.reduce(concatenate, new Uint8Array())));
}

function typeofExpression([kind, ...parameters]: TypeofExpression): Uint8Array {
  const values = parameters.map((value, at) => field(at, word(value)));
  return concatenate(field(0, word(kind)), field(1, values.reduce(concatenate, new Uint8Array())));
}

/** Encodes a number in host byte order. */
function word(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** The user data of an element that represents rules of another table: the handles of those rules. */
export function ruleHandlesUserdata(handles: readonly bigint[]): Uint8Array {
  const value = new Uint8Array(handles.length * HANDLE_LENGTH);
  const view = new DataView(value.buffer);
  handles.forEach((handle, at) => {
    view.setBigUint64(at * HANDLE_LENGTH, handle);
  });
  return field(RULE_HANDLES_USERDATA, value);
}

/** Parses the handles of `ruleHandlesUserdata`; an empty list if there are none. */
export function readRuleHandles(userdata: Uint8Array | undefined): bigint[] {
  const value = readField(userdata, RULE_HANDLES_USERDATA);
  if (value === undefined) return [];
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const count = Math.floor(value.length / HANDLE_LENGTH);
  return Array.from({ length: count }, (_, at) => view.getBigUint64(at * HANDLE_LENGTH));
}

/** The user data of an element with a comment and a digest of other elements (32 bits). */
export function digestUserdata(comment: string, digest: number): Uint8Array {
  return concatenate(field(COMMENT, text(comment)), field(DIGEST_USERDATA, word(digest)));
}

/** Parses the digest of `digestUserdata`; `undefined` if there is none. */
export function readDigest(userdata: Uint8Array | undefined): number | undefined {
  const [a, b, c, d] = readField(userdata, DIGEST_USERDATA) ?? [];
  if (a === undefined || b === undefined || c === undefined || d === undefined) return undefined;
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/** The content of a table's stamp (`stamp.ts`). */
export interface StampField {
  /** Identifies the layout of the table. */
  readonly layout: number;
  /** The number of sets and chains, and the number of rules. */
  readonly objects: number;
  readonly rules: number;
  /** Bytes that describe the variable parts of the layout. */
  readonly parts: readonly number[];
}

/** The user data of a table with a comment and a stamp. */
export function stampedUserdata(comment: string, { layout, objects, rules, parts }: StampField): Uint8Array {
  const counts = [objects >>> 8, objects, rules >>> 8, rules];
  const stamp = Uint8Array.of(layout >>> 24, layout >>> 16, layout >>> 8, layout, ...counts, ...parts);
  return concatenate(field(COMMENT, text(comment)), field(STAMP_USERDATA, stamp));
}

/** Parses a table's stamp; `undefined` if there is none. */
export function readStamp(userdata: Uint8Array | undefined): StampField | undefined {
  const stamp = readField(userdata, STAMP_USERDATA);
  if (stamp === undefined || stamp.length < STAMP_LENGTH) return undefined;
  const u16 = (at: number) => ((stamp[at] ?? 0) << 8) | (stamp[at + 1] ?? 0);
  return {
    layout: ((u16(0) << 16) | u16(2)) >>> 0,
    objects: u16(4),
    rules: u16(6),
    parts: [...stamp.subarray(STAMP_LENGTH)],
  };
}

/** The comment of a table, chain, rule or element; `undefined` if there is none. */
export function readComment(userdata: Uint8Array | undefined): string | undefined {
  return readText(userdata, COMMENT);
}

export function readSetComment(userdata: Uint8Array | undefined): string | undefined {
  return readText(userdata, SET_COMMENT);
}

function text(comment: string): Uint8Array {
  const bytes = encoder.encode(`${comment}\0`);
  if (bytes.length > LONGEST_COMMENT) {
    throw new RangeError(`a comment of ${bytes.length - 1} bytes, but nft shows at most ${LONGEST_COMMENT - 1}`);
  }
  return bytes;
}

function field(type: number, value: Uint8Array): Uint8Array {
  return concatenate(Uint8Array.of(type, value.length), value);
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}

function readText(userdata: Uint8Array | undefined, wanted: number): string | undefined {
  const value = readField(userdata, wanted);
  return value === undefined ? undefined : decoder.decode(value).replace(/\0.*$/s, "");
}

/** Finds a field. Other programs' user data may be truncated or have another format: the field is then undefined. */
function readField(userdata: Uint8Array | undefined, wanted: number): Uint8Array | undefined {
  if (userdata === undefined) return undefined;
  let at = 0;
  while (at + 2 <= userdata.length) {
    const type = userdata[at];
    const end = at + 2 + (userdata[at + 1] ?? 0);
    if (end > userdata.length) return undefined;
    if (type === wanted) return userdata.subarray(at + 2, end);
    at = end;
  }
  return undefined;
}
