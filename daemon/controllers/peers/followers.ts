/** Waits a moment for controllers that follow a choice of this one, so that what they do comes first. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { type Fact, reached } from "../../core/topic.ts";

/** Longer than a controller takes that neither fails nor hangs. */
const LIMIT_MS = 500;

export class Followers {
  readonly #clock: Pick<Clock, "setTimer">;
  /** Those that did not follow in time, and what they had then: one that hangs delays a single pass, not each. */
  readonly #late = new Map<unknown, unknown>();

  constructor(clock: Pick<Clock, "setTimer">) {
    this.#clock = clock;
  }

  /** Resolves when `fact` has `choice` itself; at once where it was late the last time and has not moved since. */
  async caughtUp<T>(fact: Fact<T>, choice: T): Promise<void> {
    if (this.#late.has(fact) && this.#late.get(fact) === fact.value && fact.value !== choice) return;
    this.#late.delete(fact);
    if (!(await reached(fact, choice, this.#clock, LIMIT_MS))) this.#late.set(fact, fact.value);
  }
}
