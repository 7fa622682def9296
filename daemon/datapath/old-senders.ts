/**
 * Addresses of nodes that VXLAN packets may no longer come from, but may still come from for a moment: a node whose address
 * changes goes on sending from the old one until the others know the new one.
 */
import { type Address, formatAddress } from "../../pkg/ip/address.ts";

/** As for old VTEPs: a watch that broke is made again within seconds. */
export const LINGER_MS = 30_000;

export class OldSenders {
  readonly #lastMs = new Map<string, { readonly address: Address; readonly ms: number }>();

  /** `current`, and those that were so less than `LINGER_MS` ago. */
  with(current: readonly Address[], nowMs: number): readonly Address[] {
    for (const address of current) this.#lastMs.set(formatAddress(address), { address, ms: nowMs });
    for (const [key, { ms }] of this.#lastMs) if (nowMs - ms >= LINGER_MS) this.#lastMs.delete(key);
    return [...this.#lastMs.values()].map(({ address }) => address);
  }

  /** Time until the next one is to go; undefined where all are current. */
  nextMs(nowMs: number): number | undefined {
    const old = [...this.#lastMs.values()].filter(({ ms }) => ms < nowMs);
    return old.length === 0 ? undefined : Math.min(...old.map(({ ms }) => ms)) + LINGER_MS - nowMs;
  }
}
