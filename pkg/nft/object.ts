/**
 * Identities of nftables objects. A `table` is named as nft does, "inet weft". Handles are no part of them: an object that
 * is removed and made again is the same one.
 */
import type { ObjectIdentity } from "../netlink/message.ts";
import type { Expression, SetElement } from "../netlink/nftables.ts";
import { meaningOf, withoutComment } from "./meaning.ts";

export function tableObject(table: string): ObjectIdentity {
  return { kind: "table", key: table };
}

export function chainObject(table: string, chain: string): ObjectIdentity {
  return { kind: "chain", key: `${table} ${chain}` };
}

export function setObject(table: string, set: string): ObjectIdentity {
  return { kind: "set", key: `${table} ${set}` };
}

/** Of the elements that one message adds or removes: by their keys, in whatever order. */
export function elementsObject(table: string, set: string, elements: readonly SetElement[]): ObjectIdentity {
  const keys = elements.map(({ key, keyEnd }) => `${key?.value?.join(".")}-${keyEnd?.value?.join(".") ?? ""}`).sort();
  return { kind: "element", key: `${table} ${set} ${keys.join(",")}` };
}

/** By chain, comment and what it does: a rule has a handle only once it is there. */
export function ruleObject(
  table: string,
  chain: string,
  rule: { readonly expressions: readonly Expression[]; readonly comment: string | undefined },
): ObjectIdentity {
  const meaning = meaningOf(withoutComment(rule));
  return { kind: "rule", key: `${table} ${chain} ${JSON.stringify(rule.comment ?? "")} ${meaning}` };
}
