/** Waiting times between attempts: doubling up to a limit, with jitter, so that a thousand nodes do not come back as one. */

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  /** At least 0 and below 1. */
  readonly random: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #ceilingMs: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#ceilingMs = options.initialMs;
  }

  /** The next waiting time: between half the current ceiling and the whole of it. The ceiling then doubles. */
  next(): number {
    const ceilingMs = this.#ceilingMs;
    this.#ceilingMs = Math.min(ceilingMs * 2, this.#options.maxMs);
    return ceilingMs * (0.5 + this.#options.random() / 2);
  }

  /** Begins anew, after a success. */
  reset(): void {
    this.#ceilingMs = this.#options.initialMs;
  }
}
