/** NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM (nf_tables_newsetelem, nf_tables_delsetelem). */
import { decode, type Message, NLM_F_EXCL } from "../../netlink/message.ts";
import {
  NFT_MSG_DELSETELEM,
  NFT_MSG_NEWSETELEM,
  NFT_SET,
  NFT_SET_ELEM_INTERVAL_END,
  type NftData,
  type SetElement,
} from "../../netlink/nftables.ts";
import { checkValue, checkVerdict } from "./data.ts";
import { type Draft, setByName } from "./draft.ts";
import { findClash, findRemoved, identityOf } from "./element-store.ts";
import { checkUserdata, existing, Refusal, required } from "./refusal.ts";
import { counterOf } from "./sets.ts";
import { lookupsOf, type SetState, type TableState } from "./state.ts";

/** NFT_SET_ELEM_CATCHALL */
const CATCH_ALL = 2;

export interface AddedElements {
  readonly table: TableState;
  readonly set: SetState;
  readonly added: readonly SetElement[];
}

/** Adds elements. Elements before a refused one stay in the draft; the transaction fails anyway. */
export function newElements(draft: Draft, message: Message): AddedElements {
  const { header, attributes } = decode(NFT_MSG_NEWSETELEM, message);
  const elements = required(attributes.elements);
  const table = draft.table(header.family, attributes.table);
  const set = setByName(table, attributes.set);
  assertVariable(table, set);
  const added: SetElement[] = [];
  for (const element of elements) {
    const { unknown, ...fields } = element;
    if (unknown !== undefined) throw new Error("the fake nftables does not support an attribute of this element");
    const expression = counterOf(fields.expression) ?? set.expression;
    checkKeys(set, fields);
    const userdata = checkUserdata(fields.userdata);
    checkData(table, set, fields);
    const held = findClash(set, fields);
    if (held !== undefined) {
      const isOther = dataText(held.data) !== dataText(fields.data);
      if (isOther || (message.flags & NLM_F_EXCL) !== 0) throw new Refusal("EEXIST");
      continue;
    }
    assertHasRoom(set);
    const taken = {
      ...fields,
      flags: fields.flags || undefined,
      userdata: userdata?.length ? userdata : undefined,
      expression,
    };
    set.elements.set(identityOf(set, taken), taken);
    added.push(taken);
    if (taken.data?.verdict?.chain !== undefined) draft.unvalidated.add(table);
    draft.isChanged = true;
  }
  return { table, set, added };
}

/** A constant set may change only if no rule looks it up. */
function assertVariable(table: TableState, { name, flags }: SetState): void {
  const isConstant = (flags & NFT_SET.constant) !== 0;
  if (isConstant && lookupsOf(table, name).next().done !== true) throw new Refusal("EBUSY");
}

/** NFTA_SET_DESC_SIZE */
function assertHasRoom({ description, elements }: SetState): void {
  if (description.size !== undefined && elements.size >= description.size) throw new Refusal("ENFILE");
}

function checkKeys(set: SetState, { key, keyEnd, flags = 0 }: SetElement): void {
  const isInterval = (set.flags & NFT_SET.interval) !== 0;
  const isEnd = (flags & NFT_SET_ELEM_INTERVAL_END) !== 0;
  if ((flags & CATCH_ALL) !== 0) throw new Error("the fake nftables does not support catch-all elements");
  if ((flags & ~NFT_SET_ELEM_INTERVAL_END) !== 0) throw new Refusal("EOPNOTSUPP");
  if (isEnd && !isInterval) throw new Refusal("EINVAL");
  required(key);
  const isOfRanges = isInterval && (set.flags & NFT_SET.concat) !== 0;
  if (isOfRanges ? isEnd : keyEnd !== undefined) throw new Refusal("EINVAL");
  checkValue(key, set.keyLength);
  if (keyEnd !== undefined) checkValue(keyEnd, set.keyLength);
}

function checkData(table: TableState, set: SetState, { data, userdata, flags = 0 }: SetElement): void {
  const isMap = (set.flags & NFT_SET.map) !== 0;
  const isEnd = (flags & NFT_SET_ELEM_INTERVAL_END) !== 0;
  // The end of an interval consists of a key only.
  if (isEnd && (data !== undefined || userdata !== undefined)) throw new Refusal("EINVAL");
  if (isMap ? data === undefined && !isEnd : data !== undefined) throw new Refusal("EINVAL");
  if (data === undefined) return;
  if (set.dataLength === undefined) checkVerdict(data, table);
  else checkValue(data, set.dataLength);
}

function dataText(data: NftData | undefined): string {
  return `${data?.value?.join() ?? ""} ${data?.verdict?.code ?? ""} ${data?.verdict?.chain ?? ""}`;
}

/** Deletes elements; without a list of elements, flushes the set. */
export function deleteElements(draft: Draft, message: Message): void {
  const { header, attributes } = decode(NFT_MSG_DELSETELEM, message);
  const table = draft.table(header.family, attributes.table);
  const set = setByName(table, attributes.set);
  assertVariable(table, set);
  if (attributes.elements === undefined) {
    if (set.elements.size > 0) draft.isChanged = true;
    set.elements.clear();
    return;
  }
  for (const element of attributes.elements) {
    checkKeys(set, element);
    const held = existing(findRemoved(set, element));
    set.elements.delete(identityOf(set, held));
    draft.isChanged = true;
  }
}
