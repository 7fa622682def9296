/**
 * Identities of nftables objects. `table` is in nft's form, "inet weft". Handles are not part of the identity: an
 * object that is removed and recreated is the same object.
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

/** Identifies the elements that one message adds or removes, by their keys in sorted order. */
export function elementsObject(table: string, set: string, elements: readonly SetElement[]): ObjectIdentity {
  const keys = elements.map(({ key, keyEnd }) => `${key?.value?.join(".")}-${keyEnd?.value?.join(".") ?? ""}`).sort();
  return { kind: "element", key: `${table} ${set} ${keys.join(",")}` };
}

/** Identifies a rule by chain, comment and meaning, because a rule has a handle only after its creation. */
export function ruleObject(
  table: string,
  chain: string,
  rule: { readonly expressions: readonly Expression[]; readonly comment: string | undefined },
): ObjectIdentity {
  const meaning = meaningOf(withoutComment(rule));
  return { kind: "rule", key: `${table} ${chain} ${JSON.stringify(rule.comment ?? "")} ${meaning}` };
}
