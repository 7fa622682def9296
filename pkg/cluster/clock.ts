/** Time and chance, as parameters: tests have their own. */

export interface Clock {
  /** Milliseconds since some moment; never goes back, as the time of day may. */
  nowMs(): number;
  /** At least 0 and below 1. */
  random(): number;
  /** Calls `action` once after `ms`; returns the function that cancels it. */
  setTimer(ms: number, action: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  nowMs: () => performance.now(),
  random: () => Math.random(),
  setTimer: (ms, action) => {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or as soon as `signal` aborts. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const finish = () => {
      cancel();
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = clock.setTimer(ms, finish);
    signal.addEventListener("abort", finish);
  });
}

/**
 * Calls `action` when `touch` was not called for `ms`. A watch asks for this thousands of times between two
 * expiries, so touching only notes the time, and one timer at a time looks whether it was enough.
 */
export class SilenceTimer {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #action: () => void;
  #heardMs: number;
  #cancel: () => void;

  constructor(clock: Clock, ms: number, action: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#action = action;
    this.#heardMs = clock.nowMs();
    this.#cancel = clock.setTimer(ms, () => this.#look());
  }

  touch(): void {
    this.#heardMs = this.#clock.nowMs();
  }

  stop(): void {
    this.#cancel();
  }

  #look(): void {
    const remainingMs = this.#heardMs + this.#ms - this.#clock.nowMs();
    if (remainingMs <= 0) this.#action();
    else this.#cancel = this.#clock.setTimer(remainingMs, () => this.#look());
  }
}
