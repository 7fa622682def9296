/**
 * Sets and maps with hundreds of thousands of elements. Keys and data are byte strings: strings with one character for
 * each byte. Byte strings can be compared, concatenated and used as keys of a `Map`, and take a tenth of the memory of
 * an object with an array. This file encodes and parses them without the codec's tables, which would take half the time
 * of a large transaction.
 */
import type { ByteWriter } from "../netlink/bytes.ts";
import { type Codec, cstring, eachAttribute, NLA_F_NESTED, writeAttribute } from "../netlink/codec.ts";
import { decode, lateRequest, type Message, type MessageType, NLM_F_CREATE, type Request } from "../netlink/message.ts";
import { NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM, nfgenmsg, VERDICT } from "../netlink/nftables.ts";
import { type Table, tableHeader, tableText } from "./table.ts";

/** A byte string. The key of a set with ranges is the concatenation of its first and its last value. */
export type Bytes = string;

export interface ElementBytes {
  readonly keys: readonly Bytes[];
  /** One entry for each key; empty strings if the set is not a map. */
  readonly data: readonly Bytes[];
}

/** The properties of a set that determine the form of its elements. */
export interface ElementForm {
  readonly name: string;
  readonly hasRanges?: boolean;
  readonly hasCounters?: boolean;
  /** The data of each element is the name of a chain to go to. */
  readonly isGoto?: boolean;
}

interface ElementList extends ElementBytes {
  readonly table: string;
  readonly set: ElementForm;
}

/** nla_len has 16 bits, which limits the length of a list of elements. */
const LONGEST_LIST = 60_000;
/** The maximum size of the attributes around a key of two parts, data and a counter. */
const OVERHEAD = 64;

/** Adds elements. Existing elements with the same data stay; fails with EEXIST if one exists with other data. */
export function addBytes(table: Table, set: ElementForm, { keys, data }: ElementBytes): Request[] {
  return inMessages(keys, data).map(({ from, to }) => {
    const part = { keys: keys.slice(from, to), data: data.slice(from, to) };
    return elementsRequest(NEW_ELEMENTS, "add", table, set, part);
  });
}

/** Removes elements. Fails with ENOENT if one of them does not exist. */
export function deleteBytes(table: Table, set: ElementForm, keys: readonly Bytes[]): Request[] {
  return inMessages(keys, []).map(({ from, to }) => {
    const part = { keys: keys.slice(from, to), data: [] };
    return elementsRequest(DELETE_ELEMENTS, "delete", table, set, part);
  });
}

function inMessages(keys: readonly Bytes[], data: readonly Bytes[]): { from: number; to: number }[] {
  const messages: { from: number; to: number }[] = [];
  let from = 0;
  let length = 0;
  keys.forEach((key, at) => {
    const size = key.length + (data[at]?.length ?? 0) + OVERHEAD;
    if (length + size > LONGEST_LIST) {
      messages.push({ from, to: at });
      from = at;
      length = 0;
    }
    length += size;
  });
  return from < keys.length ? [...messages, { from, to: keys.length }] : messages;
}

type Elements = MessageType<{ readonly family: number }, ElementList>;

function elementsRequest(
  message: Elements,
  verb: "add" | "delete",
  table: Table,
  set: ElementForm,
  elements: ElementBytes,
): Request {
  const name = `${tableText(table)} ${set.name}`;
  return lateRequest(
    message,
    () => ({ kind: "element", key: `${name} ${elements.keys.map(hexadecimal).sort().join(",")}` }),
    () => `nft ${verb} element ${name} (${elements.keys.length} of them)`,
    () => [tableHeader(table), { table: table.name, set, ...elements }],
    verb === "add" ? NLM_F_CREATE : 0,
  );
}

function hexadecimal(bytes: Bytes): string {
  let text = "";
  for (let at = 0; at < bytes.length; at++) text += bytes.charCodeAt(at).toString(16).padStart(2, "0");
  return text;
}

/** NFTA_SET_ELEM_LIST_TABLE, _SET, _ELEMENTS; NFTA_LIST_ELEM */
const LIST = { table: 1, set: 2, elements: 3, element: 1 } as const;
/** NFTA_SET_ELEM_KEY, _DATA, _EXPR, _KEY_END; NFTA_DATA_VALUE */
const ELEMENT = { key: 1, data: 2, expression: 7, keyEnd: 10, value: 1 } as const;
/** NFTA_DATA_VERDICT, NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN */
const VERDICT_DATA = { verdict: 2, code: 1, chain: 2 } as const;
const NLA_HEADER = 4;
/** NFTA_EXPR_NAME "counter"; without data, the counter starts at zero. */
const COUNTER: Bytes = "\x0c\x00\x01\x00counter\x00";

/** VERDICT.goto in network byte order. */
const GOTO: Bytes = String.fromCharCode(0xff, 0xff, 0xff, 0x100 + VERDICT.goto);

const codec: Codec<ElementList> = {
  write(to, { table, set, keys, data }) {
    writeAttribute(to, LIST.table, cstring, table);
    writeAttribute(to, LIST.set, cstring, set.name);
    writeAttribute(to, LIST.elements, { isNest: true, write: writeElements }, { set, keys, data });
  },
  read(from) {
    let [table, name] = ["", ""];
    const keys: Bytes[] = [];
    const data: Bytes[] = [];
    eachAttribute(from, (type, start, end) => {
      const payload = from.subarray(start, end);
      if (type === LIST.table) table = cstring.read(payload);
      else if (type === LIST.set) name = cstring.read(payload);
      else if (type === LIST.elements) eachAttribute(payload, (_, at, to) => readElement(payload, at, to, keys, data));
    });
    return { table, set: { name }, keys, data };
  },
};

const NEW_ELEMENTS: Elements = { ...NFT_MSG_NEWSETELEM, header: nfgenmsg, attributes: codec };
const DELETE_ELEMENTS: Elements = { ...NFT_MSG_DELSETELEM, header: nfgenmsg, attributes: codec };

function writeElements(to: ByteWriter, { set, keys, data }: Omit<ElementList, "table">): void {
  const { hasRanges = false, hasCounters = false, isGoto = false } = set;
  keys.forEach((key, at) => {
    const start = to.openAttribute(LIST.element | NLA_F_NESTED);
    writeValue(to, ELEMENT.key, hasRanges ? key.slice(0, key.length / 2) : key);
    const value = data[at];
    if (value !== undefined && value !== "") (isGoto ? writeGoto : writeValue)(to, ELEMENT.data, value);
    if (hasCounters && data.length > 0) {
      to.u16(NLA_HEADER + COUNTER.length);
      to.u16(ELEMENT.expression | NLA_F_NESTED);
      to.characters(COUNTER);
    }
    if (hasRanges) writeValue(to, ELEMENT.keyEnd, key.slice(key.length / 2));
    to.closeAttribute(start);
  });
}

/** Writes a nest of one NFTA_DATA_VALUE. */
function writeValue(to: ByteWriter, type: number, value: Bytes): void {
  to.u16(2 * NLA_HEADER + ((value.length + 3) & ~3));
  to.u16(type | NLA_F_NESTED);
  to.u16(NLA_HEADER + value.length);
  to.u16(ELEMENT.value);
  to.characters(value);
  to.align4();
}

/** Writes a nest of NFTA_DATA_VERDICT. */
function writeGoto(to: ByteWriter, type: number, chain: Bytes): void {
  const name = NLA_HEADER + chain.length + 1;
  const verdict = NLA_HEADER + 2 * NLA_HEADER + ((name + 3) & ~3);
  to.u16(NLA_HEADER + verdict);
  to.u16(type | NLA_F_NESTED);
  to.u16(verdict);
  to.u16(VERDICT_DATA.verdict | NLA_F_NESTED);
  to.u16(2 * NLA_HEADER);
  to.u16(VERDICT_DATA.code);
  to.characters(GOTO);
  to.u16(name);
  to.u16(VERDICT_DATA.chain);
  to.characters(`${chain}\0`);
  to.align4();
}

/** Reads a key and its data; ignores counters. The data of a goto is the name of its chain; other verdicts read as "". */
function readElement(from: Uint8Array, start: number, end: number, keys: Bytes[], data: Bytes[]): void {
  let [key, keyEnd, value] = ["", "", ""];
  const element = from.subarray(start, end);
  eachAttribute(element, (type, at, to) => {
    if (type === ELEMENT.key) key = valueBytes(element, at, to);
    else if (type === ELEMENT.keyEnd) keyEnd = valueBytes(element, at, to);
    else if (type === ELEMENT.data) value = valueBytes(element, at, to);
  });
  keys.push(key + keyEnd);
  data.push(value);
}

function valueBytes(from: Uint8Array, start: number, end: number): Bytes {
  let value = "";
  const nest = from.subarray(start, end);
  eachAttribute(nest, (type, at, to) => {
    if (type === ELEMENT.value) value = String.fromCharCode(...nest.subarray(at, to));
    else if (type === VERDICT_DATA.verdict) value = gotoTarget(nest.subarray(at, to));
  });
  return value;
}

function gotoTarget(verdict: Uint8Array): Bytes {
  let [code, chain] = ["", ""];
  eachAttribute(verdict, (type, at, to) => {
    if (type === VERDICT_DATA.code) code = String.fromCharCode(...verdict.subarray(at, to));
    else if (type === VERDICT_DATA.chain) chain = cstring.read(verdict.subarray(at, to));
  });
  return code === GOTO ? chain : "";
}

/** Calls `visit` for each element of `table` in the answers to dumps, with the name of its set. */
export function eachElement(
  table: Table,
  messages: readonly Message[],
  visit: (set: string, key: Bytes, data: Bytes) => void,
): void {
  for (const message of messages) {
    if (message.type !== NFT_MSG_NEWSETELEM.type) continue;
    const { header, attributes } = decode(NEW_ELEMENTS, message);
    if (header.family !== tableHeader(table).family || attributes.table !== table.name) continue;
    attributes.keys.forEach((key, at) => {
      visit(attributes.set.name, key, attributes.data[at] ?? "");
    });
  }
}
