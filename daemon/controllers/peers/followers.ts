/** Waits a moment for controllers that follow this controller's choices, so that they act first. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { type Fact, reached } from "../../core/topic.ts";

/** Longer than a controller takes that neither fails nor hangs. */
const LIMIT_MS = 500;

export class Followers {
  readonly #clock: Pick<Clock, "setTimer">;
  /**
   * Facts that did not follow in time, with their values at that time. A hanging follower thus delays only one pass.
   */
  readonly #late = new Map<unknown, unknown>();

  constructor(clock: Pick<Clock, "setTimer">) {
    this.#clock = clock;
  }

  /**
   * Resolves when `fact` has the object `choice`. Resolves at once if it was late the last time and has not changed
   * since.
   */
  async caughtUp<T>(fact: Fact<T>, choice: T): Promise<void> {
    if (this.#late.has(fact) && this.#late.get(fact) === fact.value && fact.value !== choice) return;
    this.#late.delete(fact);
    if (!(await reached(fact, choice, this.#clock, LIMIT_MS))) this.#late.set(fact, fact.value);
  }
}
