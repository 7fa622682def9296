/**
 * Distinguishes a program that keeps undoing weft's repairs from occasional damage, and does not repair at full speed
 * against such a program. If an object needs too many repairs within a short time, its repairs back off, longer each
 * time, and the contention is reported once.
 *
 * Objects are identified by their identity. Texts are only for reports and are formed only for them.
 */
import { identityText, type ObjectIdentity, type Request } from "../netlink/message.ts";

/**
 * The number of repairs without back-off per window. An operator who experiments changes an object a few times; a
 * program that disagrees answers within milliseconds.
 */
const FREE_REPAIRS = 20;
const WINDOW_MS = 10_000;
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 60_000;

/** The number of objects that a message lists. */
const SHOWN = 3;

type Late<T> = T | (() => T);

/** Decides whether an object may be repaired. */
export interface Gate {
  /** True if everything may be sent: nothing is counted, and identities are not needed. */
  readonly isOpen?: boolean;
  /**
   * True if `object` may be repaired now; the repair is then counted. `text` describes the object or the change for an
   * operator.
   */
  mayPutBack(object: ObjectIdentity, text: Late<string>): boolean;
  /** Reports that the kernel refused the change, so no other program has undone it. */
  refused(object: ObjectIdentity): void;
  /** Throws `ContentionError` if `mayPutBack` has refused an object since the last call. */
  assertNothingRests(): void;
}

/** A gate that allows everything. */
export const OPEN_GATE: Gate = {
  isOpen: true,
  mayPutBack: () => true,
  refused: () => undefined,
  assertNothingRests: () => undefined,
};

/**
 * Returns a function that decides about all changes of one repair. Several changes of one object (a device is created,
 * then brought up) count as one repair of it, and are sent together or not at all.
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

/** The repairs of one object. */
interface History {
  /** The times of the repairs within the window. */
  repairsMs: number[];
  restMs: number;
  restsUntilMs: number;
}

export interface RepairListener {
  /** Called for each allowed repair. There may be thousands of repairs, so call `text` only if necessary. */
  onRepair(object: ObjectIdentity, text: () => string): void;
  /** Called once when an object becomes contended. */
  onContention(object: ObjectIdentity, text: string): void;
}

/** An object whose repairs back off, and its description for people. */
export interface RestingObject {
  readonly identity: ObjectIdentity;
  readonly text: string;
}

/** Some objects stay unrepaired for now, because another program keeps undoing the repairs. */
export class ContentionError extends Error {
  /** The objects whose repairs back off. */
  readonly objects: readonly RestingObject[];
  /** The time at which the first of them may be repaired, by the clock of the `RepairGate`. */
  readonly untilMs: number;

  constructor(objects: readonly RestingObject[], untilMs: number, nowMs: number) {
    const shown = objects.slice(0, SHOWN).map(({ text }) => text);
    super(
      `another program keeps undoing weftd's repairs (${shown.join("; ")}): next attempt in ` +
        `${((untilMs - nowMs) / 1000).toFixed(1)} seconds; find that program (ip monitor, nft monitor) and configure it to ignore weft's objects`,
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
  /** The time at which the first refused object may be repaired. */
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
    // Reset the back-off if the object has survived for longer than its last back-off and longer than the window.
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
    // A pass calls this several times: keep the earliest end of a back-off.
    this.#untilMs = this.#untilMs > nowMs ? Math.min(this.#untilMs, untilMs) : untilMs;
    const objects = [...resting.values()].map(({ identity, text }) => ({ identity, text: textOf(text) }));
    throw new ContentionError(objects, untilMs, nowMs);
  }

  /** The time until the first refused object may be repaired; undefined if no back-off is left. */
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
