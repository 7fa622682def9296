/**
 * Lists of endpoints as frontends have them: sorted by address and port, without duplicates. Lookups allocate nothing.
 */
import { type Address, compareAddresses } from "../../ip/address.ts";
import type { Endpoint } from "../frontend.ts";

export type SortedEndpoints = readonly Endpoint[];

interface Place {
  readonly address: Address;
  readonly port: number;
}

function compare(a: Place, b: Place): number {
  return compareAddresses(a.address, b.address) || a.port - b.port;
}

export function includes(list: SortedEndpoints, place: Place): boolean {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compare(list[middle] as Endpoint, place);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

/** The endpoints of `list` that `other` does not contain. */
export function without(list: SortedEndpoints, other: SortedEndpoints): SortedEndpoints {
  // Most changes concern one of many endpoints, so this walks both lists once.
  let at = 0;
  return list.filter((each) => {
    while (at < other.length && compare(other[at] as Endpoint, each) < 0) at++;
    return at === other.length || compare(other[at] as Endpoint, each) !== 0;
  });
}

export function union(a: SortedEndpoints, b: SortedEndpoints): SortedEndpoints {
  if (a.length === 0) return b;
  return b.length === 0 ? a : [...a, ...without(b, a)].sort(compare);
}
