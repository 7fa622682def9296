/**
 * Tells a program that undoes what weftd puts back, again and again, from damage: the first is not fought at full speed.
 * An object that had to be put back too often within a short time rests for a while, longer each time, and is reported once.
 *
 * Objects are told apart by their identity. Words are for reports alone, and are formed only there.
 */
import { identityText, type ObjectIdentity, type Request } from "../netlink/message.ts";

/** An operator who tries something out does it a few times; a program that disagrees answers within milliseconds. */
const FREE_REPAIRS = 20;
const WINDOW_MS = 10_000;
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 60_000;

/** A message names so many objects. */
const SHOWN = 3;

type Late<T> = T | (() => T);

/** Asked before an object is put back. */
export interface Gate {
  /** Everything may be sent: nothing is counted, and no identity needs to be formed. */
  readonly isOpen?: boolean;
  /** True when `object` may be put back now; that is counted. `text` names it, or the change, in an operator's words. */
  mayPutBack(object: ObjectIdentity, text: Late<string>): boolean;
  /** The kernel refused the change: no other program has undone it. */
  refused(object: ObjectIdentity): void;
  /** Throws `ContentionError` where, since the last call, `mayPutBack` was asked for an object that rests. */
  assertNothingRests(): void;
}

/** Lets everything pass. */
export const OPEN_GATE: Gate = {
  isOpen: true,
  mayPutBack: () => true,
  refused: () => undefined,
  assertNothingRests: () => undefined,
};

/**
 * For all changes of one repair: several of one object (a device is made, then brought up) are one repair of it, and are
 * sent all together or not at all.
 */
export function repairOf(gate: Pick<Gate, "mayPutBack">): (change: Pick<Request, "object" | "text">) => boolean {
  const verdicts = new Map<string, boolean>();
  return (change) => {
    const { object } = change;
    const id = identityText(object);
    const verdict = verdicts.get(id) ?? gate.mayPutBack(object, () => change.text);
    verdicts.set(id, verdict);
    return verdict;
  };
}

/** What was put back of one object. */
interface History {
  /** When it was put back, within the window. */
  repairsMs: number[];
  restMs: number;
  restsUntilMs: number;
}

export interface RepairListener {
  /** An object has to be put back, and may be. Called for each repair: there may be thousands, so forming `text` costs. */
  onRepair(object: ObjectIdentity, text: () => string): void;
  /** Called once when an object begins to be contended. */
  onContention(object: ObjectIdentity, text: string): void;
}

/** An object that rests, and its words for people. */
export interface RestingObject {
  readonly identity: ObjectIdentity;
  readonly text: string;
}

/** Something is left as another program wants it, for now. */
export class ContentionError extends Error {
  /** What rests. */
  readonly objects: readonly RestingObject[];
  /** The first of them may be put back then, by the clock of the `RepairGate`. */
  readonly untilMs: number;

  constructor(objects: readonly RestingObject[], untilMs: number, nowMs: number) {
    const shown = objects.slice(0, SHOWN).map(({ text }) => text);
    super(
      `another program undoes again and again what weftd puts back (${shown.join("; ")}): next attempt in ` +
        `${((untilMs - nowMs) / 1000).toFixed(1)} seconds; find it (ip monitor, nft monitor) and make it leave weft's objects alone`,
    );
    this.name = "ContentionError";
    this.objects = objects;
    this.untilMs = untilMs;
  }
}

interface Resting {
  readonly identity: ObjectIdentity;
  readonly text: Late<string>;
}

export class RepairGate implements Gate {
  readonly #clock: { nowMs(): number };
  readonly #listener: RepairListener;
  readonly #histories = new Map<string, History>();
  #resting = new Map<string, Resting>();
  /** When the first of those that were asked for may be put back. */
  #untilMs = 0;

  constructor(clock: { nowMs(): number }, listener: RepairListener) {
    this.#clock = clock;
    this.#listener = listener;
  }

  mayPutBack(object: ObjectIdentity, text: Late<string>): boolean {
    const nowMs = this.#clock.nowMs();
    const id = identityText(object);
    const history = this.#histories.get(id) ?? { repairsMs: [], restMs: 0, restsUntilMs: 0 };
    this.#histories.set(id, history);
    if (nowMs < history.restsUntilMs) {
      this.#resting.set(id, { identity: object, text });
      return false;
    }
    // Reset the back-off once the object has survived for longer than its last one, and than the window.
    const lastMs = Math.max(history.restsUntilMs, history.repairsMs.at(-1) ?? 0);
    if (nowMs - lastMs > Math.max(WINDOW_MS, history.restMs)) history.restMs = 0;
    history.repairsMs = [...history.repairsMs.filter((ms) => nowMs - ms < WINDOW_MS), nowMs];
    this.#listener.onRepair(object, () => textOf(text));
    const isContended = history.restMs > 0 || history.repairsMs.length > FREE_REPAIRS;
    if (isContended) {
      if (history.restMs === 0) this.#listener.onContention(object, textOf(text));
      history.restMs = Math.min(history.restMs === 0 ? FIRST_REST_MS : 2 * history.restMs, LONGEST_REST_MS);
      history.restsUntilMs = nowMs + history.restMs;
    }
    return true;
  }

  refused(object: ObjectIdentity): void {
    this.#histories.delete(identityText(object));
  }

  assertNothingRests(): void {
    const resting = this.#resting;
    this.#resting = new Map();
    this.#forgetOld();
    if (resting.size === 0) return;
    const nowMs = this.#clock.nowMs();
    const untilMs = Math.min(...[...resting.keys()].map((id) => this.#histories.get(id)?.restsUntilMs ?? 0));
    // A pass asks several times: the first rest to end counts.
    this.#untilMs = this.#untilMs > nowMs ? Math.min(this.#untilMs, untilMs) : untilMs;
    const objects = [...resting.values()].map(({ identity, text }) => ({ identity, text: textOf(text) }));
    throw new ContentionError(objects, untilMs, nowMs);
  }

  /** Time until the first object that was asked for and rests may be put back; undefined where none of them rests any more. */
  nextMs(): number | undefined {
    const leftMs = this.#untilMs - this.#clock.nowMs();
    return leftMs > 0 ? leftMs : undefined;
  }

  #forgetOld(): void {
    const nowMs = this.#clock.nowMs();
    for (const [id, { repairsMs, restMs, restsUntilMs }] of this.#histories) {
      const lastMs = Math.max(restsUntilMs, repairsMs.at(-1) ?? 0);
      if (nowMs - lastMs > 2 * Math.max(WINDOW_MS, restMs)) this.#histories.delete(id);
    }
  }
}

function textOf(text: Late<string>): string {
  return typeof text === "string" ? text : text();
}
