/** A clock that a test moves by hand. */
import type { Clock } from "./clock.ts";

export class ManualClock implements Clock {
  readonly #timers = new Set<{ readonly atMs: number; readonly action: () => void }>();
  #nowMs = 0;
  /** What `random` answers. */
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

  /** Times until the timers that are set go off, shortest first. */
  pendingMs(): number[] {
    return [...this.#timers].map(({ atMs }) => atMs - this.#nowMs).sort((a, b) => a - b);
  }

  /** Lets time pass and sets off, in their order, the timers that are due on the way, new ones too. */
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
