/**
 * Chooses the next address. Addresses are given in turn, so that a released address stays unused as long as possible:
 * neighbours may still have it in their caches, and connections to it may still be open.
 */

import { type Address, isSameAddress } from "../ip/address.ts";
import { type Range, type RangeSet, rangeOf } from "./ranges.ts";

/** An address together with its range. */
export interface Candidate {
  readonly address: Address;
  readonly range: Range;
}

/**
 * Yields every address that `set` may give, each once: from the address after `cursor` through the ranges of the set,
 * wrapping around, up to `cursor` itself. If the cursor is in no range (the configuration changed), starts at the first
 * range.
 */
export function* candidates(set: RangeSet, cursor: Address | undefined): Generator<Candidate> {
  const found = cursor === undefined ? -1 : set.findIndex((range) => rangeOf([range], cursor) !== undefined);
  if (cursor === undefined || found < 0) {
    for (const range of set) yield* span(set, range, range.start.value, range.end.value);
    return;
  }
  const current = set[found] as Range;
  yield* span(set, current, cursor.value + 1n, current.end.value);
  for (const range of set.slice(found + 1)) yield* span(set, range, range.start.value, range.end.value);
  for (const range of set.slice(0, found)) yield* span(set, range, range.start.value, range.end.value);
  yield* span(set, current, current.start.value, cursor.value);
}

function* span(set: RangeSet, range: Range, first: bigint, last: bigint): Generator<Candidate> {
  const { family } = range.subnet.address;
  for (let value = first; value <= last; value++) {
    const address: Address = { family, value };
    if (refusalOf(set, address) === undefined) yield { address, range };
  }
}

/** Returns why `address`, which is within a range of `set`, is never given. Undefined if it may be given. */
export function refusalOf(set: RangeSet, address: Address): string | undefined {
  if (set.some(({ gateway }) => isSameAddress(gateway, address))) return "it is the gateway";
  return undefined;
}
