/** Tells whether a flow may have begun in a period (nf_conntrack_timestamp). */
import { FLOW_TIMES, type Flow } from "../../../pkg/kernel/flow.ts";
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import type { Files } from "../../../pkg/sys/system.ts";

export interface StartTimesParts {
  readonly files: Files;
  readonly clock: { nowMs(): number };
  /** Returns the time of day, in milliseconds since 1970. */
  timeOfDayMs(): number;
}

export class StartTimes {
  readonly #parts: StartTimesParts;
  #recordedSinceMs: number | undefined;

  constructor(parts: StartTimesParts) {
    this.#parts = parts;
    this.look();
  }

  /** Reads the setting. */
  look(): void {
    const isRecorded = readSysctl(this.#parts.files, FLOW_TIMES) === "1";
    this.#recordedSinceMs = isRecorded ? (this.#recordedSinceMs ?? this.#parts.clock.nowMs()) : undefined;
  }

  /**
   * Returns a function that says whether a flow may have begun between two times of the clock. A flow without a time
   * began before the kernel recorded times. If it did not record them by `fromMs`, the flow may be a later one.
   */
  beganBetween(fromMs: number, toMs: number): (flow: Pick<Flow, "startedMs">) => boolean {
    const { clock, timeOfDayMs } = this.#parts;
    const offsetMs = timeOfDayMs() - clock.nowMs();
    const mayBeUnknown = this.#recordedSinceMs === undefined || this.#recordedSinceMs > fromMs;
    return ({ startedMs }) =>
      startedMs === undefined ? mayBeUnknown : fromMs + offsetMs <= startedMs && startedMs <= toMs + offsetMs;
  }
}
