/** Ranges of numbers, both ends included. The numbers are address values or any other values that have an order. */
import type { Address } from "./address.ts";
import { lastAddress, networkOf, type Prefix } from "./prefix.ts";

export interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

export function wholeSpan(bits: number): Span {
  return { first: 0n, last: (1n << BigInt(bits)) - 1n };
}

export function prefixSpan(prefix: Prefix): Span {
  return { first: networkOf(prefix).address.value, last: lastAddress(prefix).value };
}

export function addressSpan({ value }: Address): Span {
  return { first: value, last: value };
}

/** Returns the fewest spans that cover the same values, in order. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const span of [...spans].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const previous = merged.at(-1);
    if (previous === undefined || span.first > previous.last + 1n) merged.push(span);
    else if (span.last > previous.last) merged[merged.length - 1] = { first: previous.first, last: span.last };
  }
  return merged;
}

/** Returns the spans of all other values that fit into `bits` bits. */
export function invertSpans(spans: readonly Span[], bits: number): Span[] {
  const whole = wholeSpan(bits);
  const inverted: Span[] = [];
  let first = whole.first;
  for (const span of mergeSpans(spans)) {
    if (span.first > first) inverted.push({ first, last: span.first - 1n });
    first = span.last + 1n;
  }
  return first <= whole.last ? [...inverted, { first, last: whole.last }] : inverted;
}

export function commonSpan(a: Span, b: Span): Span | undefined {
  const first = a.first > b.first ? a.first : b.first;
  const last = a.last < b.last ? a.last : b.last;
  return first <= last ? { first, last } : undefined;
}

/** Returns the spans of values that are in both lists. */
export function commonSpans(a: readonly Span[], b: readonly Span[]): Span[] {
  return a.flatMap((one) => b.flatMap((other) => commonSpan(one, other) ?? []));
}
