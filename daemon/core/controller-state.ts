/** The state of a controller, as /readyz, /debug/state and metrics show it. */
import type { Clock } from "../../pkg/cluster/clock.ts";

/** In order: nothing to do, a pass is running, the last pass failed, a pass does not end. */
export const CONTROLLER_STATUSES = ["idle", "running", "failing", "hanging"] as const;
export type ControllerStatus = (typeof CONTROLLER_STATUSES)[number];

/**
 * The longest that a pass may take. An iptables-legacy command has 20 seconds; the kernel answers within milliseconds.
 */
export const HANGING_MS = 30_000;

/** Times are those of the controller's `Clock`, in milliseconds. */
export interface ControllerReport {
  readonly name: string;
  readonly status: ControllerStatus;
  readonly passes: { readonly success: number; readonly failure: number };
  /** The time since the running pass began. */
  readonly runningMs?: number;
  /** The last pass that ended. */
  readonly lastPass?: { readonly reasons: readonly string[]; readonly agoMs: number; readonly durationMs: number };
  /** The longest time until a failed pass is retried. */
  readonly nextAttemptMs?: number;
  /** Why the last pass failed. */
  readonly lastError?: string;
}

/** Rounds to tenths of a millisecond, for readability. */
const rounded = (ms: number) => Math.round(ms * 10) / 10;

export class ControllerState {
  readonly #name: string;
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #passes = { success: 0, failure: 0 };
  #running: { readonly sinceMs: number; readonly reasons: readonly string[] } | undefined;
  #last: { readonly reasons: readonly string[]; readonly endedMs: number; readonly durationMs: number } | undefined;
  #failure: { readonly text: string; readonly retryAtMs: number } | undefined;

  constructor(name: string, clock: Pick<Clock, "nowMs">) {
    this.#name = name;
    this.#clock = clock;
  }

  begins(reasons: readonly string[]): void {
    this.#running = { sinceMs: this.#clock.nowMs(), reasons };
  }

  /** Returns the duration of the pass in milliseconds. */
  ends(result: "success" | "failure"): number {
    const nowMs = this.#clock.nowMs();
    const { sinceMs, reasons } = this.#running ?? { sinceMs: nowMs, reasons: [] };
    const durationMs = nowMs - sinceMs;
    this.#running = undefined;
    this.#passes[result] += 1;
    this.#last = { reasons, endedMs: nowMs, durationMs };
    if (result === "success") this.#failure = undefined;
    return durationMs;
  }

  failed(error: unknown, retryMs: number): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#failure = { text, retryAtMs: this.#clock.nowMs() + retryMs };
  }

  report(): ControllerReport {
    const nowMs = this.#clock.nowMs();
    const runningMs = this.#running && nowMs - this.#running.sinceMs;
    return {
      name: this.#name,
      status: this.#status(runningMs),
      passes: { ...this.#passes },
      ...(runningMs !== undefined && { runningMs: rounded(runningMs) }),
      ...(this.#last && {
        lastPass: {
          reasons: this.#last.reasons,
          agoMs: rounded(nowMs - this.#last.endedMs),
          durationMs: rounded(this.#last.durationMs),
        },
      }),
      ...(this.#failure && {
        nextAttemptMs: rounded(Math.max(0, this.#failure.retryAtMs - nowMs)),
        lastError: this.#failure.text,
      }),
    };
  }

  /**
   * A failing controller stays "failing" during its retry: whether it has recovered is known only when the pass ends.
   */
  #status(runningMs: number | undefined): ControllerStatus {
    if (runningMs !== undefined && runningMs >= HANGING_MS) return "hanging";
    if (this.#failure !== undefined) return "failing";
    return runningMs === undefined ? "idle" : "running";
  }
}

/** Returns the controller's line in /readyz. */
export function controllerLine(report: ControllerReport): string {
  const { name, status, passes, runningMs = 0, lastPass, nextAttemptMs = 0, lastError = "" } = report;
  const count = passes.success + passes.failure;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} seconds`;
  const last = lastPass === undefined ? "" : `, last ${seconds(lastPass.agoMs)} ago in ${lastPass.durationMs} ms`;
  switch (status) {
    case "hanging":
      return `[!] controller ${name}: hanging: a pass has been running for ${seconds(runningMs)}`;
    case "failing":
      return `[!] controller ${name}: failing: ${lastError}; next attempt in ${seconds(nextAttemptMs)}`;
    default:
      return `[+] controller ${name}: ${status}, ${count} passes${last}`;
  }
}
