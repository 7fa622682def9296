/** Limits the lines of a log: so many in each period. Further ones are counted, and reported once in each period. */
import type { Clock } from "../../../pkg/cluster/clock.ts";

export interface LineLimitParts {
  readonly clock: Pick<Clock, "nowMs" | "setTimer">;
  readonly lines: number;
  readonly periodMs: number;
  /** Called at the end of a period in which `suppressed` lines were not written. */
  report(suppressed: number): void;
}

export class LineLimit {
  readonly #parts: LineLimitParts;
  #beganMs = Number.NEGATIVE_INFINITY;
  #written = 0;
  #suppressed = 0;
  #cancel: () => void = () => undefined;

  constructor(parts: LineLimitParts) {
    this.#parts = parts;
  }

  /** Counts one line. True if it may be written. */
  take(): boolean {
    const { clock, lines, periodMs } = this.#parts;
    const nowMs = clock.nowMs();
    if (nowMs >= this.#beganMs + periodMs) {
      this.flush();
      this.#beganMs = nowMs;
      this.#written = 0;
    }
    if (this.#written < lines) {
      this.#written++;
      return true;
    }
    if (this.#suppressed++ === 0) this.#cancel = clock.setTimer(this.#beganMs + periodMs - nowMs, () => this.flush());
    return false;
  }

  /** Reports suppressed lines now. */
  flush(): void {
    this.#cancel();
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    if (suppressed > 0) this.#parts.report(suppressed);
  }
}
