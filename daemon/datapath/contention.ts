/**
 * Tells a program that undoes what weftd puts back, again and again, from damage: the first is not fought at full speed.
 * What had to be put back too often within a short time rests for a while, longer each time, and is said once.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";

/** An operator who tries something out does it a few times; a program that disagrees answers within milliseconds. */
const FREE_REPAIRS = 20;
const WINDOW_MS = 10_000;
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 60_000;

interface Struggle {
  /** When it was put back, within the window. */
  repairsMs: number[];
  restMs: number;
  restsUntilMs: number;
}

/** A message names so many objects. */
const SHOWN = 3;

export interface ContentionListener {
  /** Something has to be put back, and may be: told each time, in an operator's words. */
  onRepair(object: string): void;
  /** Told once when a struggle for it begins. */
  onContention(object: string): void;
}

/** Something is left as another program wants it, for now. */
export class ContentionError extends Error {
  /** What rests. */
  readonly objects: readonly string[];
  /** The first of them may be put back then, by the clock of the `Contention`. */
  readonly untilMs: number;

  constructor(objects: readonly string[], untilMs: number, nowMs: number) {
    super(
      `another program undoes again and again what weftd puts back (${objects.slice(0, SHOWN).join("; ")}): next attempt in ` +
        `${((untilMs - nowMs) / 1000).toFixed(1)} seconds; find it (ip monitor, nft monitor) and make it leave weft's objects alone`,
    );
    this.name = "ContentionError";
    this.objects = objects;
    this.untilMs = untilMs;
  }
}

export class Contention {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #listener: ContentionListener;
  readonly #struggles = new Map<string, Struggle>();
  #resting = new Set<string>();
  /** When the first of those that were asked for may be put back. */
  #untilMs = 0;

  constructor(clock: Pick<Clock, "nowMs">, listener: ContentionListener) {
    this.#clock = clock;
    this.#listener = listener;
  }

  /** True when `object`, in an operator's words, may be put back now: that is counted. */
  mayPutBack(object: string): boolean {
    const nowMs = this.#clock.nowMs();
    const struggle = this.#struggles.get(object) ?? { repairsMs: [], restMs: 0, restsUntilMs: 0 };
    this.#struggles.set(object, struggle);
    if (nowMs < struggle.restsUntilMs) {
      this.#resting.add(object);
      return false;
    }
    // What stood for as long as it last rested, and for the window, is forgiven.
    const lastMs = Math.max(struggle.restsUntilMs, struggle.repairsMs.at(-1) ?? 0);
    if (nowMs - lastMs > Math.max(WINDOW_MS, struggle.restMs)) struggle.restMs = 0;
    struggle.repairsMs = [...struggle.repairsMs.filter((ms) => nowMs - ms < WINDOW_MS), nowMs];
    this.#listener.onRepair(object);
    const isContended = struggle.restMs > 0 || struggle.repairsMs.length > FREE_REPAIRS;
    if (isContended) {
      if (struggle.restMs === 0) this.#listener.onContention(object);
      struggle.restMs = Math.min(struggle.restMs === 0 ? FIRST_REST_MS : 2 * struggle.restMs, LONGEST_REST_MS);
      struggle.restsUntilMs = nowMs + struggle.restMs;
    }
    return true;
  }

  /** The kernel did not take `object`: nobody has undone it. */
  refused(object: string): void {
    this.#struggles.delete(object);
  }

  /** Throws `ContentionError` where something was asked for, since the last call, that rests. */
  assertNothingRests(): void {
    const resting = this.#resting;
    this.#resting = new Set();
    this.#forgetOld();
    if (resting.size === 0) return;
    const nowMs = this.#clock.nowMs();
    const untilMs = Math.min(...[...resting].map((object) => this.#struggles.get(object)?.restsUntilMs ?? 0));
    // A pass asks several times: the first rest to end counts.
    this.#untilMs = this.#untilMs > nowMs ? Math.min(this.#untilMs, untilMs) : untilMs;
    throw new ContentionError([...resting], untilMs, nowMs);
  }

  /** Time until the first of what was asked for and rests may be put back; undefined where nothing of that rests any more. */
  nextMs(): number | undefined {
    const leftMs = this.#untilMs - this.#clock.nowMs();
    return leftMs > 0 ? leftMs : undefined;
  }

  #forgetOld(): void {
    const nowMs = this.#clock.nowMs();
    for (const [object, { repairsMs, restMs, restsUntilMs }] of this.#struggles) {
      const lastMs = Math.max(restsUntilMs, repairsMs.at(-1) ?? 0);
      if (nowMs - lastMs > 2 * Math.max(WINDOW_MS, restMs)) this.#struggles.delete(object);
    }
  }
}
