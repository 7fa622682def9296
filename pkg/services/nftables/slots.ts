/**
 * The order of a frontend's endpoints in the kernel: one slot for each possible random number. The order is stable: the
 * last endpoint moves to the slot of a removed one, and a new endpoint gets a slot at the end, so each change costs a
 * few elements.
 */
import type { Endpoint } from "../frontend.ts";
import { type Bytes, endpointBytes } from "./bytes.ts";

export type Slots = readonly Endpoint[];

/** Orders `endpoints` by their slots in `held`, as far as they are in it. */
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
