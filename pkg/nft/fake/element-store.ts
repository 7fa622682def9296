/**
 * How the kernel's kinds of sets tell elements from one another, and which they refuse beside others: hashes
 * (nft_set_hash.c), ranges as two ends each in a tree (nft_set_rbtree.c), ranges of concatenations (nft_set_pipapo.c).
 */
import { NFT_SET, NFT_SET_ELEM_INTERVAL_END, type SetElement } from "../../netlink/nftables.ts";
import { Refusal } from "./refusal.ts";
import type { SetState } from "./state.ts";

const WORD_BYTES = 4;

/** Bytes as text, in the same order. */
function hex(bytes: Uint8Array | undefined): string {
  return Array.from(bytes ?? [], (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function isInterval({ flags }: SetState): boolean {
  return (flags & NFT_SET.interval) !== 0;
}

function isConcatenation({ flags }: SetState): boolean {
  return (flags & NFT_SET.concat) !== 0;
}

function isEnd({ flags = 0 }: SetElement): boolean {
  return (flags & NFT_SET_ELEM_INTERVAL_END) !== 0;
}

/** The key of an element in `SetState.elements`. */
export function identityOf(set: SetState, element: SetElement): string {
  const key = hex(element.key?.value);
  if (!isInterval(set)) return key;
  return isConcatenation(set) ? `${key} ${hex(lastOf(element))}` : `${key} ${isEnd(element) ? "end" : "start"}`;
}

/** The element that is meant by a request that removes `element`: the end of a range only with its start. */
export function findRemoved(set: SetState, element: SetElement): SetElement | undefined {
  const held = findElement(set, element);
  if (held === undefined || !isInterval(set) || isConcatenation(set)) return held;
  if (!isEnd(held)) set.named.start = held;
  else if (!endsNamedStart(set, held)) return undefined;
  return held;
}

/** Where a start was named before, an end is known only as that of the same range (since Linux 6.18). */
function endsNamedStart(set: SetState, end: SetElement): boolean {
  const { start: named } = set.named;
  if (named === undefined) return true;
  set.named.start = undefined;
  const from = hex(named.key?.value);
  const to = hex(end.key?.value);
  const isBetween = ({ key }: SetElement) => hex(key?.value) > from && hex(key?.value) < to;
  return from < to && ![...set.elements.values()].some(isBetween);
}

/** The element that a request for `element` means. */
export function findElement(set: SetState, element: SetElement): SetElement | undefined {
  if (isInterval(set) && isConcatenation(set)) return matching(set, element.key?.value);
  return set.elements.get(identityOf(set, element));
}

/** The same element where it is there already. Throws `Refusal` EEXIST for one that overlaps another. */
export function findClash(set: SetState, element: SetElement): SetElement | undefined {
  if (!isInterval(set)) return findElement(set, element);
  return isConcatenation(set) ? clashOfRanges(set, element) : clashOfEnds(set, element);
}

/** In the order of a dump. */
export function inDumpOrder(set: SetState): SetElement[] {
  return isInterval(set) && !isConcatenation(set) ? descending(set) : [...set.elements.values()];
}

/** From the highest key to the lowest; where two ranges meet the start of the one before the end of the other. */
function descending({ elements }: SetState): SetElement[] {
  const keyed = [...elements.values()].map((element) => ({ element, key: hex(element.key?.value) }));
  keyed.sort((a, b) => compare(b.key, a.key) || Number(isEnd(a.element)) - Number(isEnd(b.element)));
  return keyed.map(({ element }) => element);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Looks only at the neighbours of a new start or end (__nft_rbtree_insert). */
function clashOfEnds(set: SetState, added: SetElement): SetElement | undefined {
  const key = hex(added.key?.value);
  let above: SetElement | undefined;
  let below: SetElement | undefined;
  for (const element of descending(set)) {
    const order = compare(hex(element.key?.value), key);
    if (order < 0 || (order === 0 && isEnd(element))) {
      below = element;
      break;
    }
    above = element;
  }
  const isSame = (held: SetElement) => hex(held.key?.value) === key && isEnd(held) === isEnd(added);
  if (above !== undefined && isSame(above)) {
    set.named.start = above;
    return above;
  }
  if (below !== undefined && isSame(below)) {
    if (!endsNamedStart(set, below)) throw new Refusal("EEXIST");
    return below;
  }
  const startsWithin = below !== undefined && !isEnd(below) && !isEnd(added);
  const endsBehindEnd = below !== undefined && isEnd(below) && isEnd(added);
  const endsBeforeEnd = above !== undefined && isEnd(above) && isEnd(added);
  if (startsWithin || endsBehindEnd || endsBeforeEnd) throw new Refusal("EEXIST");
  set.named.start = undefined;
  return undefined;
}

function lastOf({ key, keyEnd }: SetElement): Uint8Array | undefined {
  return keyEnd?.value ?? key?.value;
}

/** Only a new range's two corners are looked up: one that encloses others is taken (nft_pipapo_insert). */
function clashOfRanges(set: SetState, added: SetElement): SetElement | undefined {
  const held = matching(set, added.key?.value);
  if (held !== undefined && identityOf(set, held) === identityOf(set, added)) return held;
  if (held !== undefined || matching(set, lastOf(added)) !== undefined) throw new Refusal("EEXIST");
  const [first, last] = [fieldsOf(set, added.key?.value), fieldsOf(set, lastOf(added))];
  if (first.some((field, at) => field > (last[at] ?? ""))) throw new Refusal("EINVAL");
  return undefined;
}

/** The first element whose range holds `key`, field by field. */
function matching(set: SetState, key: Uint8Array | undefined): SetElement | undefined {
  const fields = fieldsOf(set, key);
  return [...set.elements.values()].find((element) => {
    const [first, last] = [fieldsOf(set, element.key?.value), fieldsOf(set, lastOf(element))];
    return fields.every((field, at) => field >= (first[at] ?? "") && field <= (last[at] ?? ""));
  });
}

function fieldsOf({ description }: SetState, key: Uint8Array = new Uint8Array(0)): string[] {
  let at = 0;
  return (description.concat ?? []).map(({ length = 0 }) => {
    const field = hex(key.subarray(at, at + length));
    at += Math.ceil(length / WORD_BYTES) * WORD_BYTES;
    return field;
  });
}
