/**
 * Remembers former addresses of nodes from which VXLAN packets are still accepted. A node whose address changes sends
 * from the old one until its peers know the new one.
 */
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";

/**
 * How long packets from a former address are accepted. Equals the time for which old VTEPs are kept (`old-channels.ts`):
 * a peer whose watch is broken re-establishes it within seconds, and then learns the new address.
 */
export const LINGER_MS = 30_000;

export class OldSenders {
  /** The current addresses at the last call. */
  #current = new Map<string, Address>();
  readonly #old = new Map<string, { readonly address: Address; readonly sinceMs: number }>();

  /** Returns `current` and the addresses that stopped being current less than `LINGER_MS` ago. */
  with(current: readonly Address[], nowMs: number): readonly Address[] {
    const known = new Map(current.map((address) => [formatAddress(address), address]));
    for (const [key, address] of this.#current)
      if (!known.has(key) && !this.#old.has(key)) this.#old.set(key, { address, sinceMs: nowMs });
    for (const [key, { sinceMs }] of this.#old)
      if (known.has(key) || nowMs - sinceMs >= LINGER_MS) this.#old.delete(key);
    this.#current = known;
    return [...known.values(), ...[...this.#old.values()].map(({ address }) => address)];
  }

  /**
   * Notes a change of single nodes. Returns those of `came` that the last result of `with` does not contain. An address
   * that another node still has counts as a former one until the next call of `with`.
   */
  change(left: readonly Address[], came: readonly Address[], nowMs: number): readonly Address[] {
    const added: Address[] = [];
    for (const address of left) {
      const key = formatAddress(address);
      if (this.#current.delete(key)) this.#old.set(key, { address, sinceMs: nowMs });
    }
    for (const address of came) {
      const key = formatAddress(address);
      if (!this.#old.delete(key) && !this.#current.has(key)) added.push(address);
      this.#current.set(key, address);
    }
    return added;
  }

  /** Returns the time until the next address expires; undefined if all are current. */
  nextMs(nowMs: number): number | undefined {
    const old = [...this.#old.values()];
    return old.length === 0 ? undefined : Math.min(...old.map(({ sinceMs }) => sinceMs)) + LINGER_MS - nowMs;
  }
}
