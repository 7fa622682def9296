/**
 * What a node receives by that no node's announcement asks for any more (a VTEP of an earlier VNI). It stays for a while:
 * peers hear of a change when their watch tells them, and send the old way until then. A backend has one of these.
 */

/** A watch that broke is made again within seconds; a device that nobody sends to costs nothing. */
export const LINGER_MS = 30_000;

export class OldChannels {
  /** When each channel was first not needed, by its JSON. */
  readonly #sinceMs = new Map<string, number>();

  /** Of the channels that this node has devices for, those that are kept although they are not among `needed`. */
  kept<Channel>(had: readonly Channel[], needed: readonly Channel[], nowMs: number): readonly Channel[] {
    const wanted = new Set(needed.map(keyOf));
    const old = new Map(
      had.flatMap((channel) => (wanted.has(keyOf(channel)) ? [] : [[keyOf(channel), channel] as const])),
    );
    for (const key of this.#sinceMs.keys()) if (!old.has(key)) this.#sinceMs.delete(key);
    for (const key of old.keys()) if (!this.#sinceMs.has(key)) this.#sinceMs.set(key, nowMs);
    return [...old].flatMap(([key, channel]) => (this.#leftMs(key, nowMs) > 0 ? [channel] : []));
  }

  /** Time until the next one may go; undefined when none is kept. */
  nextMs(nowMs: number): number | undefined {
    const left = [...this.#sinceMs.keys()].map((key) => this.#leftMs(key, nowMs)).filter((ms) => ms > 0);
    return left.length === 0 ? undefined : Math.min(...left);
  }

  #leftMs(key: string, nowMs: number): number {
    return (this.#sinceMs.get(key) ?? nowMs) + LINGER_MS - nowMs;
  }
}

const keyOf = (channel: unknown) => JSON.stringify(channel);
