/** Finds a key in a set: an exact key, a range, or a range for each field. */
import { NFT_SET_ELEM_INTERVAL_END, type SetElement } from "../netlink/nftables.ts";
import type { Known } from "./packet.ts";

/** Returns a number less than, equal to or greater than zero; undefined if the known bytes do not decide the order. */
export function compare(value: Known, other: Uint8Array): number | undefined {
  let isCertain = true;
  for (const [at, wanted] of other.entries()) {
    const byte = value[at];
    if (byte === undefined) isCertain = false;
    else if (byte !== wanted) return isCertain ? byte - wanted : undefined;
  }
  return isCertain ? 0 : undefined;
}

/** The element that contains `key`; null if there is none; undefined if the known bytes do not decide it. */
export function findElement(
  elements: readonly SetElement[],
  key: Known,
  fieldStarts: readonly number[],
): SetElement | null | undefined {
  const isInterval = elements.some(({ flags = 0, keyEnd }) => (flags & NFT_SET_ELEM_INTERVAL_END) !== 0 || keyEnd);
  if (!isInterval) return findExact(elements, key);
  if (elements.some(({ keyEnd }) => keyEnd !== undefined)) return findRange(elements, key, fieldStarts);
  const ends = [...elements].sort((a, b) => order(a, b));
  let last: SetElement | null = null;
  for (const element of ends) {
    const comparison = compare(key, element.key?.value ?? new Uint8Array());
    if (comparison === undefined) return undefined;
    if (comparison < 0) break;
    last = element;
  }
  return last === null || ((last.flags ?? 0) & NFT_SET_ELEM_INTERVAL_END) !== 0 ? null : last;
}

/** Sorts an end before a start with the same key, since the next range begins there. */
function order(a: SetElement, b: SetElement): number {
  const [left, right] = [a.key?.value ?? new Uint8Array(), b.key?.value ?? new Uint8Array()];
  const difference = compare([...left], right) ?? 0;
  return difference !== 0 ? difference : (b.flags ?? 0) - (a.flags ?? 0);
}

function findExact(elements: readonly SetElement[], key: Known): SetElement | null | undefined {
  let isCertain = true;
  for (const element of elements) {
    const value = element.key?.value;
    if (value === undefined) continue;
    const isKnownToDiffer = [...value].some((byte, at) => key[at] !== undefined && key[at] !== byte);
    if (isKnownToDiffer) continue;
    if (key.slice(0, value.length).every((byte) => byte !== undefined)) return element;
    isCertain = false;
  }
  return isCertain ? null : undefined;
}

/** Finds an element in a set of concatenated ranges: each field must be within its own range. */
function findRange(
  elements: readonly SetElement[],
  key: Known,
  fieldStarts: readonly number[],
): SetElement | null | undefined {
  if (key.some((byte) => byte === undefined)) return undefined;
  const starts = [0, ...[...fieldStarts].sort((a, b) => a - b)];
  const fields = starts.map((start, at) => [start, starts[at + 1] ?? key.length] as const);
  const isWithin = ({ key: from, keyEnd }: SetElement) => {
    const [low, high] = [from?.value, keyEnd?.value ?? from?.value];
    if (low === undefined || high === undefined) return false;
    return fields.every(([start, end]) => {
      const value = key.slice(start, end);
      return (
        (compare(value, low.subarray(start, end)) ?? -1) >= 0 && (compare(value, high.subarray(start, end)) ?? 1) <= 0
      );
    });
  };
  return elements.find(isWithin) ?? null;
}
