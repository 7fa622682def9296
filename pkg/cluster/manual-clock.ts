/** A clock that a test advances manually. */
import type { Clock } from "./clock.ts";

export class ManualClock implements Clock {
  readonly #timers = new Set<{ readonly atMs: number; readonly action: () => void }>();
  #nowMs = 0;
  /** The value that `random` returns. */
  chance = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  random(): number {
    return this.chance;
  }

  setTimer(ms: number, action: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, action };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Returns the times until the timers fire, shortest first. */
  pendingMs(): number[] {
    return [...this.#timers].map(({ atMs }) => atMs - this.#nowMs).sort((a, b) => a - b);
  }

  /** Advances the time and fires due timers in order, including timers that are set meanwhile. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = next.atMs;
      next.action();
    }
    this.#nowMs = endMs;
  }
}
