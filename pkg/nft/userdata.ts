/**
 * What nft keeps beside an object for itself: one byte of type, one of length, the value (libnftnl's udata; the types
 * are in libnftnl/udata.h). The kernel stores it unread.
 */
import { RULE_HANDLES_USERDATA } from "../footprint.ts";

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
/** NFTNL_UDATA_COMMENT_MAXLEN, which counts the NUL. */
const LONGEST_COMMENT = 128;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Of a table, chain, rule or element; `undefined` for no comment. Throws `RangeError` above 127 bytes. */
export function commentUserdata(comment: string | undefined): Uint8Array | undefined {
  return comment === undefined ? undefined : field(COMMENT, text(comment));
}

/**
 * Of a set: the byte order of its key, without which nft prints it reversed, and its comment. Names, marks and priorities
 * are in host order to nft, all else is in network order.
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
  /** Keys, or data, are numbers in the machine's own order, or names. */
  readonly isHostOrder?: boolean;
  readonly isDataHostOrder?: boolean;
  /** What `typeof` says of keys and data (`typeofFields`), where a type has no name that nft reads. */
  readonly keyTypeof?: Uint8Array | undefined;
  readonly dataTypeof?: Uint8Array | undefined;
}

/** An expression by its number in nft (enum expr_types), and its parameters in their order, as nft 1.0.6 writes them. */
export type TypeofExpression = readonly [kind: number, ...parameters: readonly number[]];

/** EXPR_CONCAT */
const EXPR_CONCAT = 13;

/** The value of `typeof` for one expression, or for several beside each other. */
export function typeofExpressions(expressions: readonly TypeofExpression[]): Uint8Array {
  const [first, ...rest] = expressions.map(typeofExpression);
  if (first === undefined) throw new RangeError("typeof nothing");
  if (rest.length === 0) return first;
  const parts = [first, ...rest].map((bytes, at) => field(at, bytes));
  return concatenate(field(0, word(EXPR_CONCAT)), field(1, parts.reduce(concatenate, new Uint8Array())));
}

function typeofExpression([kind, ...parameters]: TypeofExpression): Uint8Array {
  const values = parameters.map((value, at) => field(at, word(value)));
  return concatenate(field(0, word(kind)), field(1, values.reduce(concatenate, new Uint8Array())));
}

/** In the machine's own order. */
function word(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** Of an element that stands for rules elsewhere: the handles of those rules. */
export function ruleHandlesUserdata(handles: readonly bigint[]): Uint8Array {
  const value = new Uint8Array(handles.length * HANDLE_LENGTH);
  const view = new DataView(value.buffer);
  handles.forEach((handle, at) => {
    view.setBigUint64(at * HANDLE_LENGTH, handle);
  });
  return field(RULE_HANDLES_USERDATA, value);
}

/** The handles that `ruleHandlesUserdata` was given; none where there are none. */
export function readRuleHandles(userdata: Uint8Array | undefined): bigint[] {
  const value = readField(userdata, RULE_HANDLES_USERDATA);
  if (value === undefined) return [];
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const count = Math.floor(value.length / HANDLE_LENGTH);
  return Array.from({ length: count }, (_, at) => view.getBigUint64(at * HANDLE_LENGTH));
}

/** The comment of a table, chain, rule or element; `undefined` when there is none. */
export function readComment(userdata: Uint8Array | undefined): string | undefined {
  return readText(userdata, COMMENT);
}

export function readSetComment(userdata: Uint8Array | undefined): string | undefined {
  return readText(userdata, SET_COMMENT);
}

function text(comment: string): Uint8Array {
  const bytes = encoder.encode(`${comment}\0`);
  if (bytes.length > LONGEST_COMMENT) {
    throw new RangeError(`a comment of ${bytes.length - 1} bytes: nft shows at most ${LONGEST_COMMENT - 1}`);
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

/** Others' data may be cut short or be no such list at all: then there is no such field. */
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
