/** Compares rules, and values in nftables messages, by meaning instead of by encoding. */
import type { Expression } from "../netlink/nftables.ts";

/** Equal for two rules if and only if they do the same; counter values do not matter. */
export function meaningOf(expressions: readonly Expression[]): string {
  return canonical(shapeOfRule(expressions, undefined));
}

/** The form of a rule for comparisons. Counter values are state, not part of the rule, so they are omitted. */
export function shapeOfRule(expressions: readonly Expression[], comment: string | undefined) {
  return {
    expressions: expressions.map(({ kind, data }) => (kind === "counter" ? { kind } : { kind, data })),
    comment,
  };
}

/** A rule's expressions without the comment match of iptables (`-m comment`). */
export function withoutComment({
  expressions,
}: {
  readonly expressions: readonly Expression[];
}): readonly Expression[] {
  return expressions.filter((expression) => !(expression.kind === "match" && expression.data?.name === "comment"));
}

/**
 * Formats a value so that equal meanings have equal texts. Sorts fields by name. Omits zero and empty values, because
 * dumps state defaults (a lookup's flags, a bitwise operation's kind), and attributes that are not in weft's tables.
 */
export function canonical(value: unknown): string {
  if (value instanceof Uint8Array) return value.join();
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(String(value));
  const fields = Object.entries(value)
    .filter(([name, field]) => name !== "unknown" && field !== undefined && field !== 0 && field !== 0n)
    .map(([name, field]) => [name, canonical(field)] as const)
    .filter(([, text]) => text !== "{}")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, text]) => `${name}:${text}`);
  return `{${fields.join(",")}}`;
}

/** True for values of equal meaning: those that `canonical` formats equally. Faster than `canonical`. */
export function isSameMeaning(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array || Array.isArray(a)) return isSameList(a, b);
  if (typeof a !== "object" || a === null) return typeof b !== "object" && String(a) === String(b);
  if (typeof b !== "object" || b === null || Array.isArray(b) || b instanceof Uint8Array) return false;
  const [one, other] = [a as Fields, b as Fields];
  for (const name in one) {
    if (name === "unknown" || isEmpty(one[name])) continue;
    if (isEmpty(other[name]) || !isSameMeaning(one[name], other[name])) return false;
  }
  for (const name in other) {
    if (name !== "unknown" && !isEmpty(other[name]) && isEmpty(one[name])) return false;
  }
  return true;
}

type Fields = Readonly<Record<string, unknown>>;

function isSameList(a: Uint8Array | readonly unknown[], b: unknown): boolean {
  const isList = a instanceof Uint8Array ? b instanceof Uint8Array : Array.isArray(b);
  if (!isList) return false;
  const list = b as readonly unknown[];
  if (a.length !== list.length) return false;
  for (let at = 0; at < a.length; at++) if (!isSameMeaning(a[at], list[at])) return false;
  return true;
}

/** True for fields that `canonical` omits. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === 0 || value === 0n) return true;
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) return false;
  for (const name in value) if (name !== "unknown" && !isEmpty((value as Fields)[name])) return false;
  return true;
}
