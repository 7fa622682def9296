/**
 * Identity and overlap of elements in the kernel's kinds of sets: hashes (nft_set_hash.c), trees of interval starts and
 * ends (nft_set_rbtree.c), concatenations with ranges (nft_set_pipapo.c).
 */
import { NFT_SET, NFT_SET_ELEM_INTERVAL_END, type SetElement } from "../../netlink/nftables.ts";
import { Refusal } from "./refusal.ts";
import type { SetState } from "./state.ts";

const WORD_BYTES = 4;

/** Hexadecimal text sorts as the bytes do. */
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

/**
 * The element that a request to delete `element` removes. The kernel finds the end of a range only together with its
 * start.
 */
export function findRemoved(set: SetState, element: SetElement): SetElement | undefined {
  const held = findElement(set, element);
  if (held === undefined || !isInterval(set) || isConcatenation(set)) return held;
  if (!isEnd(held)) set.named.start = held;
  else if (!endsNamedStart(set, held)) return undefined;
  return held;
}

/** After a request for the start of a range, the kernel finds only the end of that range (Linux 6.18). */
function endsNamedStart(set: SetState, end: SetElement): boolean {
  const { start: named } = set.named;
  if (named === undefined) return true;
  set.named.start = undefined;
  const from = hex(named.key?.value);
  const to = hex(end.key?.value);
  const isBetween = ({ key }: SetElement) => hex(key?.value) > from && hex(key?.value) < to;
  return from < to && ![...set.elements.values()].some(isBetween);
}

/** The element that a GET request for `element` returns. */
export function findElement(set: SetState, element: SetElement): SetElement | undefined {
  if (isInterval(set) && isConcatenation(set)) return matching(set, element.key?.value);
  return set.elements.get(identityOf(set, element));
}

/** Returns the existing equal element, if any. Throws `Refusal` EEXIST if a new element overlaps another one. */
export function findClash(set: SetState, element: SetElement): SetElement | undefined {
  if (!isInterval(set)) return findElement(set, element);
  return isConcatenation(set) ? clashOfRanges(set, element) : clashOfEnds(set, element);
}

/** The elements in the order of a dump. For a hash the kernel's order is arbitrary. */
export function inDumpOrder(set: SetState): SetElement[] {
  return isInterval(set) && !isConcatenation(set) ? descending(set) : [...set.elements.values()];
}

/** The elements from the highest key to the lowest; for equal keys, starts come before ends. */
function descending({ elements }: SetState): SetElement[] {
  const keyed = [...elements.values()].map((element) => ({ element, key: hex(element.key?.value) }));
  keyed.sort((a, b) => compare(b.key, a.key) || Number(isEnd(a.element)) - Number(isEnd(b.element)));
  return keyed.map(({ element }) => element);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Compares a new start or end with its neighbours only, as __nft_rbtree_insert does. */
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

/** Looks up only the two corners of a new range, as nft_pipapo_insert does, so a range may enclose others. */
function clashOfRanges(set: SetState, added: SetElement): SetElement | undefined {
  const held = matching(set, added.key?.value);
  if (held !== undefined && identityOf(set, held) === identityOf(set, added)) return held;
  if (held !== undefined || matching(set, lastOf(added)) !== undefined) throw new Refusal("EEXIST");
  const [first, last] = [fieldsOf(set, added.key?.value), fieldsOf(set, lastOf(added))];
  if (first.some((field, at) => field > (last[at] ?? ""))) throw new Refusal("EINVAL");
  return undefined;
}

/** The first element whose range contains `key` in every field. */
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
