/**
 * Rules of attachments that ended while weftd was restarted: an earlier weftd put them back, their DEL was over before, and
 * nothing else removes them. Pure.
 *
 * Not every attachment has a link here (macvlan), and one on its way in has no result yet: only what lacks both twice, with
 * a while between, has ended.
 */
import { MARK_START } from "../../../pkg/footprint.ts";

/** An ADD or a DEL takes less. */
const WHILE_MS = 60_000;

/** What the runtime remembers. */
export interface Remembered {
  /** True where it remembers nothing at all: its results may be kept where weftd does not look. */
  readonly isEmpty: boolean;
  has(mark: string): boolean;
}

export class OrphanedRules {
  /** Those that the first look has found, with its time. */
  #candidates: ReadonlyMap<string, number> | undefined;

  /** The marks of those of `owners` that have ended. `remember` is called only where that is in question. */
  find(
    owners: ReadonlySet<string>,
    hostEnds: ReadonlyMap<string, string>,
    remember: () => Remembered,
    nowMs: number,
  ): ReadonlySet<string> {
    const before = this.#candidates ?? new Map([...owners].map((owner) => [owner, nowMs]));
    const unlinked = [...before].filter(
      ([owner]) => owner.startsWith(MARK_START) && owners.has(owner) && !hostEnds.has(owner),
    );
    const remembered = unlinked.length === 0 ? undefined : remember();
    this.#candidates = new Map(unlinked.filter(([owner]) => remembered?.has(owner) !== true));
    if (remembered?.isEmpty !== false) return new Set();
    return new Set([...this.#candidates].filter(([, sinceMs]) => nowMs - sinceMs >= WHILE_MS).map(([owner]) => owner));
  }
}
