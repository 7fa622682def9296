/**
 * What nft keeps beside an object for itself: one byte of type, one of length, the value (libnftnl's udata; the types
 * are in libnftnl/udata.h). The kernel stores it unread.
 */
import { RULE_HANDLES_USERDATA } from "../footprint.ts";

/** NFTNL_UDATA_{TABLE,CHAIN,RULE,SET_ELEM}_COMMENT are all 0. */
const COMMENT = 0;
const SET_KEY_BYTE_ORDER = 0;
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
 * Of a set: the byte order of its key, without which nft prints it reversed, and its comment. Names are in host order to
 * nft, all else is in network order.
 */
export function setUserdata(comment: string, { isName = false }: { readonly isName?: boolean } = {}): Uint8Array {
  const order = field(SET_KEY_BYTE_ORDER, Uint8Array.of(isName ? HOST_ENDIAN : BIG_ENDIAN, 0, 0, 0));
  return concatenate(order, field(SET_COMMENT, text(comment)));
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
