/** Time and randomness as parameters, so that tests can replace them. */

export interface Clock {
  /** Milliseconds since a fixed moment. Never decreases, unlike the time of day. */
  nowMs(): number;
  /** Returns a number from 0 up to, but not including, 1. */
  random(): number;
  /**
   * Calls `action` once after `ms`; with 0, as soon as the events that have already arrived are handled. Returns the
   * function that cancels it.
   */
  setTimer(ms: number, action: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  nowMs: () => performance.now(),
  random: () => Math.random(),
  setTimer: (ms, action) => {
    // A timer of Node.js waits for at least one millisecond.
    if (ms <= 0) {
      const immediate = setImmediate(action);
      return () => clearImmediate(immediate);
    }
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
 * Calls `action` if `touch` was not called for `ms`. A watch calls `touch` thousands of times between two expiries, so
 * `touch` only records the time. A single timer then checks whether enough time has passed.
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
