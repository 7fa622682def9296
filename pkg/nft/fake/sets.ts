/** NFT_MSG_NEWSET and NFT_MSG_DELSET (nf_tables_newset, nf_tables_delset). Anonymous sets are not supported. */
import { decode, type Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../../netlink/message.ts";
import { type Expression, NFT_MSG_DELSET, NFT_MSG_NEWSET, NFT_SET } from "../../netlink/nftables.ts";
import { type Draft, setByName } from "./draft.ts";
import { checkName, checkUserdata, existing, Refusal, required } from "./refusal.ts";
import { lookupsOf, nextHandle, type SetState, type TableState } from "./state.ts";
import { NLM_F_NONREC } from "./tables.ts";

/** All flags: those that weft uses, and NFT_SET_EVAL, NFT_SET_OBJECT, NFT_SET_EXPR. */
const ALL_FLAGS = 0x1ff;
const NFT_SET_OBJECT = 0x40;
/** NFT_DATA_RESERVED_MASK, NFT_DATA_VERDICT */
const RESERVED_TYPE = 0xffff_ff00;
const VERDICT_TYPE = 0xffff_ff00;
/** NFT_DATA_VALUE_MAXLEN, and its number of words. */
const LONGEST_VALUE = 64;
const MOST_WORDS = 16;
const WORD_BYTES = 4;

type SetDescription = Omit<SetState, "handle" | "elements" | "named">;

export function newSet(draft: Draft, message: Message): { readonly table: TableState; readonly set: SetState } {
  const { header, attributes } = decode(NFT_MSG_NEWSET, message);
  required(attributes.table);
  const wanted = describe(attributes);
  const table = draft.table(header.family, attributes.table);
  const held = table.sets.get(wanted.name);
  if (held !== undefined) {
    if ((message.flags & NLM_F_EXCL) !== 0) throw new Refusal("EEXIST");
    if ((message.flags & NLM_F_REPLACE) !== 0) throw new Refusal("EOPNOTSUPP");
    if (!isSame(held, wanted)) throw new Refusal("EEXIST");
    draft.isChanged = true;
    return { table, set: held };
  }
  if ((message.flags & NLM_F_CREATE) === 0) throw new Refusal("ENOENT");
  assertHasBackend(wanted);
  const set: SetState = { ...wanted, handle: nextHandle(table), elements: new Map(), named: { start: undefined } };
  table.sets.set(set.name, set);
  draft.isChanged = true;
  return { table, set };
}

type SetAttributes = ReturnType<typeof decodeSet>["attributes"];

function decodeSet(message: Message) {
  return decode(NFT_MSG_NEWSET, message);
}

function describe(attributes: SetAttributes): SetDescription {
  const { keyType = 0, flags = 0, description = {} } = attributes;
  const name = required(checkName(attributes.name));
  required(attributes.id);
  if ((keyType & RESERVED_TYPE) >>> 0 === RESERVED_TYPE) throw new Refusal("EINVAL");
  const keyLength = checkLength(attributes.keyLength);
  checkFlags(flags);
  const data = describeData(flags, attributes);
  checkFields(flags, keyLength, description.concat ?? []);
  const state = { timeout: checkTimeout(flags, attributes.timeout), expression: counterOf(attributes.expression) };
  return {
    name,
    flags,
    keyType,
    keyLength,
    ...data,
    description,
    userdata: checkUserdata(attributes.userdata),
    ...state,
  };
}

function checkTimeout(flags: number, timeout: bigint | undefined): bigint | undefined {
  if (timeout !== undefined && (flags & NFT_SET.timeout) === 0) throw new Refusal("EINVAL");
  return timeout || undefined;
}

/** The initial counter of new elements. */
export function counterOf(expression: Expression | undefined): Expression | undefined {
  if (expression === undefined) return undefined;
  if (expression.kind !== "counter")
    throw new Error(`the fake nftables does not support elements with ${expression.kind}`);
  const { bytes = 0n, packets = 0n } = expression.data ?? {};
  return { kind: "counter", data: { bytes, packets } };
}

function checkLength(length: number | undefined): number {
  const bytes = required(length);
  if (bytes === 0 || bytes > LONGEST_VALUE) throw new Refusal("EINVAL");
  return bytes;
}

function checkFlags(flags: number): void {
  if ((flags & ~ALL_FLAGS) !== 0) throw new Refusal("EOPNOTSUPP");
  if ((flags & (NFT_SET.anonymous | NFT_SET_OBJECT)) !== 0) {
    throw new Error("the fake nftables supports neither anonymous sets nor object maps");
  }
  if ((flags & NFT_SET.constant) !== 0 && (flags & NFT_SET.timeout) !== 0) throw new Refusal("EOPNOTSUPP");
}

function describeData(flags: number, { dataType, dataLength }: SetAttributes) {
  const isMap = (flags & NFT_SET.map) !== 0;
  if (isMap !== (dataType !== undefined)) throw new Refusal("EINVAL");
  if (dataType === undefined || dataType === VERDICT_TYPE) return { dataType, dataLength: undefined };
  if ((dataType & RESERVED_TYPE) >>> 0 === RESERVED_TYPE) throw new Refusal("EINVAL");
  return { dataType, dataLength: checkLength(dataLength) };
}

/**
 * Checks the description of a concatenation, which has the lengths of its fields; each field is padded to full words.
 */
function checkFields(flags: number, keyLength: number, fields: NonNullable<SetState["description"]["concat"]>): void {
  if (fields.length > MOST_WORDS) throw new Refusal("E2BIG");
  const lengths = fields.map(({ length }) => required(length));
  if (lengths.some((length) => length === 0 || length > LONGEST_VALUE)) throw new Refusal("EINVAL");
  const words = lengths.reduce((sum, length) => sum + Math.ceil(length / WORD_BYTES), 0);
  if (fields.length > 0 && words !== Math.ceil(keyLength / WORD_BYTES)) throw new Refusal("EINVAL");
  const isConcatenation = (flags & NFT_SET.concat) !== 0;
  if (isConcatenation !== fields.length > 1) throw new Refusal("EINVAL");
}

/** An interval set that is not a concatenation must not describe several fields. */
function assertHasBackend({ flags, keyLength, description }: SetDescription): void {
  const isConcatenation = (flags & NFT_SET.concat) !== 0;
  if ((flags & NFT_SET.interval) === 0 || isConcatenation) return;
  if (keyLength > LONGEST_VALUE || (description.concat?.length ?? 0) > 1) throw new Refusal("EOPNOTSUPP");
}

function isSame(a: SetState, b: SetDescription): boolean {
  const text = ({ flags, keyType, keyLength, dataType, dataLength, description }: SetDescription) =>
    [flags, keyType, keyLength, dataType, dataLength, ...(description.concat ?? []).map(({ length }) => length)].join();
  return text(a) === text(b);
}

export function deleteSet(draft: Draft, message: Message): void {
  const { header, attributes } = decode(NFT_MSG_DELSET, message);
  const table = draft.table(header.family, attributes.table);
  const { handle } = attributes;
  const set =
    handle === undefined
      ? setByName(table, attributes.name)
      : existing([...table.sets.values()].find((each) => each.handle === handle));
  const isLookedUp = !(lookupsOf(table, set.name).next().done ?? false);
  const isFull = (message.flags & NLM_F_NONREC) !== 0 && set.elements.size > 0;
  if (isLookedUp || isFull) throw new Refusal("EBUSY");
  table.sets.delete(set.name);
  draft.isChanged = true;
}
