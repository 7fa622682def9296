/**
 * Back-off times between attempts. They double up to a limit and have jitter, so that a thousand nodes do not reconnect
 * at the same time.
 */

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  /** Returns a number from 0 up to, but not including, 1. */
  readonly random: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #ceilingMs: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#ceilingMs = options.initialMs;
  }

  /** Returns the next delay, between half the current ceiling and the ceiling. The ceiling then doubles. */
  next(): number {
    const ceilingMs = this.#ceilingMs;
    this.#ceilingMs = Math.min(ceilingMs * 2, this.#options.maxMs);
    return ceilingMs * (0.5 + this.#options.random() / 2);
  }

  /** Resets the ceiling, after a success. */
  reset(): void {
    this.#ceilingMs = this.#options.initialMs;
  }
}
