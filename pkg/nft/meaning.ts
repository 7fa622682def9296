/** When two rules, or two values in nftables messages, are the same although they are not written alike. */
import type { Expression } from "../netlink/nftables.ts";

/** Equal for two rules exactly when they do the same; what they have counted does not matter. */
export function meaningOf(expressions: readonly Expression[]): string {
  return canonical(shapeOfRule(expressions, undefined));
}

/** Counters are what the rule has done, not what it is. */
export function shapeOfRule(expressions: readonly Expression[], comment: string | undefined) {
  return {
    expressions: expressions.map(({ kind, data }) => (kind === "counter" ? { kind } : { kind, data })),
    comment,
  };
}

/** A rule's expressions without the comment that iptables keeps among them (`-m comment`). */
export function withoutComment({
  expressions,
}: {
  readonly expressions: readonly Expression[];
}): readonly Expression[] {
  return expressions.filter((expression) => !(expression.kind === "match" && expression.data?.name === "comment"));
}

/**
 * The same text for the same meaning: fields by name; what is zero or empty as if it were left out, since dumps state
 * defaults (a lookup's flags, a bitwise operation's kind); attributes newer than our tables left out.
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
