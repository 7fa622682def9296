/**
 * VTEPs that no node's announcement asks for any more. They go on receiving for a while: peers hear of a change when
 * their watch tells them, and send the old way until then.
 */
import type { KnownVtep, Overlay } from "../../../pkg/backend/overlay.ts";

/** A watch that broke is made again within seconds; a device that nobody sends to costs nothing. */
export const LINGER_MS = 30_000;

export class OldVteps {
  /** When each overlay was first not needed. */
  readonly #sinceMs = new Map<string, number>();

  /** Of the devices that this node has, the overlays that are kept although they are not among `needed`. */
  kept(known: readonly KnownVtep[], needed: readonly Overlay[], nowMs: number): readonly Overlay[] {
    const wanted = new Set(needed.map(keyOf));
    const old = new Map(
      known.flatMap(({ device }) =>
        device?.isOurs === true && !wanted.has(keyOf(device)) ? [[keyOf(device), device] as const] : [],
      ),
    );
    for (const key of this.#sinceMs.keys()) if (!old.has(key)) this.#sinceMs.delete(key);
    for (const key of old.keys()) if (!this.#sinceMs.has(key)) this.#sinceMs.set(key, nowMs);
    return [...old].flatMap(([key, { vni, port }]) => (this.#leftMs(key, nowMs) > 0 ? [{ vni, port }] : []));
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

const keyOf = ({ vni, port }: Overlay) => `${vni} ${port}`;
