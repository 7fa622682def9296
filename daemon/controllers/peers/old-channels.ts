/**
 * Keeps channels on which a node receives although no announcement names them any more, for example a VTEP of an
 * earlier VNI. Peers learn of a change through their watch and use the old channel until then. Each backend has one of
 * these.
 */

/** A broken watch is re-established within seconds, and an unused device costs nothing. */
export const LINGER_MS = 30_000;

export class OldChannels {
  /** The times at which each channel became unneeded, by the channel's JSON. */
  readonly #sinceMs = new Map<string, number>();

  /**
   * Returns the channels that are kept although they are not in `needed`, out of `had`, the channels that this node has
   * devices for.
   */
  kept<Channel>(had: readonly Channel[], needed: readonly Channel[], nowMs: number): readonly Channel[] {
    const wanted = new Set(needed.map(keyOf));
    const old = new Map(
      had.flatMap((channel) => (wanted.has(keyOf(channel)) ? [] : [[keyOf(channel), channel] as const])),
    );
    for (const key of this.#sinceMs.keys()) if (!old.has(key)) this.#sinceMs.delete(key);
    for (const key of old.keys()) if (!this.#sinceMs.has(key)) this.#sinceMs.set(key, nowMs);
    return [...old].flatMap(([key, channel]) => (this.#leftMs(key, nowMs) > 0 ? [channel] : []));
  }

  /** Returns the time until the next channel expires; undefined if none is kept. */
  nextMs(nowMs: number): number | undefined {
    const left = [...this.#sinceMs.keys()].map((key) => this.#leftMs(key, nowMs)).filter((ms) => ms > 0);
    return left.length === 0 ? undefined : Math.min(...left);
  }

  #leftMs(key: string, nowMs: number): number {
    return (this.#sinceMs.get(key) ?? nowMs) + LINGER_MS - nowMs;
  }
}

const keyOf = (channel: unknown) => JSON.stringify(channel);
