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
