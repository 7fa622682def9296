/**
 * The address that VXLAN packets leave from, when it changes while the old one is still there: peers take packets from
 * addresses that they know, and hear of the new one by their watch. Until then the old one goes on.
 */
import { type Address, type Family, isSameAddress } from "../../../pkg/ip/address.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { UnderlayAddress, UnderlayChoice } from "./underlay.ts";

/** A Node's change reaches other nodes within milliseconds; a watch that broke is made again within seconds. */
export const SETTLE_MS = 3000;

interface Source {
  readonly index: number;
  readonly local: Address;
  /** Since when another is wanted. */
  readonly sinceMs: number | undefined;
}

export class SourceChange {
  readonly #sources = new Map<Family, Source>();

  /** `chosen`, with the addresses of before for as long as they are there and others may not know the new ones. */
  settle(chosen: UnderlayChoice, held: readonly LinkAddress[], nowMs: number): UnderlayChoice {
    // Without this, 40 to 140 ms of pings were lost; with it, none.
    return {
      ...chosen,
      ipv4: this.#settled(4, chosen.ipv4, chosen.link.index, held, nowMs),
      ipv6: this.#settled(6, chosen.ipv6, chosen.link.index, held, nowMs),
    };
  }

  /** Time until the next change is made; undefined when none is to come. */
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
