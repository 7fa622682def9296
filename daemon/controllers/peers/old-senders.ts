/**
 * Addresses of nodes that VXLAN packets may no longer come from, but may still come from for a moment: a node whose address
 * changes goes on sending from the old one until the others know the new one.
 */
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";

/** As for old VTEPs: a watch that broke is made again within seconds. */
export const LINGER_MS = 30_000;

export class OldSenders {
  /** What was current when it was last asked. */
  #current: ReadonlyMap<string, Address> = new Map();
  readonly #old = new Map<string, { readonly address: Address; readonly sinceMs: number }>();

  /** `current`, and those that were found to be so no more less than `LINGER_MS` ago. */
  with(current: readonly Address[], nowMs: number): readonly Address[] {
    const known = new Map(current.map((address) => [formatAddress(address), address]));
    for (const [key, address] of this.#current)
      if (!known.has(key) && !this.#old.has(key)) this.#old.set(key, { address, sinceMs: nowMs });
    for (const [key, { sinceMs }] of this.#old)
      if (known.has(key) || nowMs - sinceMs >= LINGER_MS) this.#old.delete(key);
    this.#current = known;
    return [...known.values(), ...[...this.#old.values()].map(({ address }) => address)];
  }

  /** Time until the next one is to go; undefined where all are current. */
  nextMs(nowMs: number): number | undefined {
    const old = [...this.#old.values()];
    return old.length === 0 ? undefined : Math.min(...old.map(({ sinceMs }) => sinceMs)) + LINGER_MS - nowMs;
  }
}
