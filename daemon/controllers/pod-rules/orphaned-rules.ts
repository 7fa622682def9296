/**
 * Finds rules of attachments that ended while weftd was restarted: an earlier weftd restored the rules after their DEL,
 * and nothing else removes them. Pure.
 *
 * Not every attachment has a link on the host (macvlan), and an attachment whose ADD is running has no result yet. So
 * an attachment counts as ended only if it lacks both at two times, some time apart.
 */
import { MARK_START } from "../../../pkg/footprint.ts";

/** Longer than an ADD or a DEL takes. */
const WHILE_MS = 60_000;

/** The results that the runtime has stored. */
export interface Remembered {
  /** True if there are no results at all: the runtime may store them where weftd does not look. */
  readonly isEmpty: boolean;
  has(mark: string): boolean;
}

export class OrphanedRules {
  /** The candidates of the first check, with its time. */
  #candidates: ReadonlyMap<string, number> | undefined;

  /** Returns the marks of those of `owners` that have ended. `remember` is called only if needed. */
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
