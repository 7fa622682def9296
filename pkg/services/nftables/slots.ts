/**
 * The order of a frontend's endpoints in the kernel: a slot for each number that may be drawn. Orders are stable: an endpoint
 * that goes leaves its slot to the last one, one that comes gets a slot at the end, so that each costs a few elements.
 */
import type { Endpoint } from "../frontend.ts";
import { type Bytes, endpointBytes } from "./bytes.ts";

export type Slots = readonly Endpoint[];

/** `endpoints` in the order that `held` has, slot by slot, as far as those are among them. */
export function arrangeSlots(held: readonly Bytes[], endpoints: readonly Endpoint[]): Slots {
  if (held.length === 0) return endpoints;
  const left = new Map(endpoints.map((endpoint) => [endpointBytes(endpoint), endpoint]));
  const slots: (Endpoint | undefined)[] = held.map((bytes) => {
    const endpoint = left.get(bytes);
    left.delete(bytes);
    return endpoint;
  });
  const coming = [...left.values()];
  const filled = slots.map((endpoint) => endpoint ?? coming.shift());
  filled.push(...coming);
  for (let at = 0; at < filled.length; at++) {
    while (filled.length > at && filled.at(-1) === undefined) filled.pop();
    if (at < filled.length && filled[at] === undefined) filled[at] = filled.pop();
  }
  return filled.filter((endpoint) => endpoint !== undefined);
}
