/**
 * Delays the change of the source address of VXLAN packets while the old address still exists. Peers accept packets
 * only from known addresses, and learn the new one through their watch. Until then the old one is used.
 */
import { type Address, type Family, isSameAddress } from "../../../pkg/ip/address.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { UnderlayAddress, UnderlayChoice } from "./underlay.ts";

/** A Node's change reaches other nodes within milliseconds; a broken watch is re-established within seconds. */
export const SETTLE_MS = 3000;

interface Source {
  readonly index: number;
  readonly local: Address;
  /** The time since which another address is chosen. */
  readonly sinceMs: number | undefined;
}

export class SourceChange {
  readonly #sources = new Map<Family, Source>();

  /** Returns `chosen`, but with the earlier addresses while they exist and peers may not know the new ones. */
  settle(chosen: UnderlayChoice, held: readonly LinkAddress[], nowMs: number): UnderlayChoice {
    // Without this, 40 to 140 ms of pings were lost; with it, none.
    return {
      ...chosen,
      ipv4: this.#settled(4, chosen.ipv4, chosen.link.index, held, nowMs),
      ipv6: this.#settled(6, chosen.ipv6, chosen.link.index, held, nowMs),
    };
  }

  /** Returns the time until the next change takes effect; undefined if none is pending. */
  nextMs(nowMs: number): number | undefined {
    const left = [...this.#sources.values()].flatMap(({ sinceMs }) =>
      sinceMs === undefined ? [] : [sinceMs + SETTLE_MS - nowMs],
    );
    return left.length === 0 ? undefined : Math.min(...left);
  }

  #settled(
    family: Family,
    wanted: UnderlayAddress | undefined,
    index: number,
    held: readonly LinkAddress[],
    nowMs: number,
  ): UnderlayAddress | undefined {
    const last = this.#sources.get(family);
    this.#sources.delete(family);
    if (wanted === undefined) return undefined;
    const isThere = held.some((one) => one.index === last?.index && isSameAddress(one.prefix.address, last.local));
    const isOther = last !== undefined && !isSameAddress(last.local, wanted.local);
    const sinceMs = last?.sinceMs ?? nowMs;
    if (isOther && isThere && last.index === index && nowMs - sinceMs < SETTLE_MS) {
      this.#sources.set(family, { ...last, sinceMs });
      return { ...wanted, local: last.local };
    }
    this.#sources.set(family, { index, local: wanted.local, sinceMs: undefined });
    return wanted;
  }
}
