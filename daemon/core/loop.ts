/**
 * Repeats one kind of work on request: one pass at a time, any number of requests answered by one pass, and a failed
 * pass retried with back-off.
 */
import { Backoff } from "../../pkg/cluster/backoff.ts";
import type { Clock } from "../../pkg/cluster/clock.ts";

const INTERVAL = "interval";

/**
 * The work that a successful pass has done: "part" is the work of its reasons, so passes that are requested for later
 * still follow. Otherwise all the work is done, regardless of the requests.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: nearly all passes do all the work, and return nothing.
export type PassScope = "part" | void;

export interface LoopOptions {
  readonly clock: Clock;
  /** `reasons` are those of the requests that are due. */
  readonly pass: (reasons: readonly string[]) => Promise<PassScope>;
  /** Called when a pass threw. The next one begins within `retryMs`. Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  /** The time from a failed pass until a retry may succeed, if that is known. No retry is postponed beyond it. */
  readonly promisingMs?: () => number | undefined;
  /** The shortest time from a failed pass to its retry. [0] */
  readonly pauseMs?: () => number;
  /** The time after a failed pass during which patient requests count as caused by it. [0] */
  readonly patienceMs?: number;
  /**
   * The longest time from a successful pass to the next one if nothing requests a pass. If undefined, none follows.
   * Loops with the same interval begin these passes at the same time, so that they share one snapshot of the kernel.
   */
  readonly intervalMs?: number;
}

export interface PassRequest {
  /** The time that the pass may wait for further requests. */
  readonly delayMs?: number;
  /**
   * True for a request that a failing pass may itself cause. During a pass that fails, and for `patienceMs` after it,
   * such a request joins the retry instead of hurrying it. Every other request hurries the retry and resets the
   * back-off.
   */
  readonly isPatient?: boolean;
}

export class Loop {
  readonly #options: LoopOptions;
  readonly #backoff: Backoff;
  /** The reasons of pending requests, with the times at which they are due. */
  readonly #requests = new Map<string, number>();
  /** Patient requests that arrived during the running pass. */
  readonly #echoes = new Map<string, number>();
  #retryAtMs = 0;
  #patientUntilMs = 0;
  #cancelTimer: () => void = () => undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...options.backoff, random: () => options.clock.random() });
  }

  /** Requests a pass that begins soon after this call. */
  ask(reason: string, request: PassRequest = {}): void {
    if (this.#isStopped) return;
    const nowMs = this.#options.clock.nowMs();
    const wantedMs = nowMs + (request.delayMs ?? 0);
    if (request.isPatient === true && this.#running !== undefined) {
      this.#echoes.set(reason, Math.min(wantedMs, this.#echoes.get(reason) ?? wantedMs));
      return;
    }
    const isEcho = request.isPatient === true && nowMs < this.#patientUntilMs;
    const dueMs = isEcho ? Math.max(wantedMs, this.#retryAtMs) : wantedMs;
    if (!isEcho) this.#backoff.reset();
    this.#requests.set(reason, Math.min(dueMs, this.#requests.get(reason) ?? dueMs));
    this.#arm();
  }

  /** Lets no further pass begin. Resolves when the running one has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelTimer();
    await this.#running;
  }

  #arm(): void {
    if (this.#running !== undefined || this.#isStopped || this.#requests.size === 0) return;
    this.#cancelTimer();
    const dueMs = Math.min(...this.#requests.values());
    const waitMs = Math.max(0, dueMs - this.#options.clock.nowMs());
    this.#cancelTimer = this.#options.clock.setTimer(waitMs, () => {
      this.#running = this.#run();
    });
  }

  async #run(): Promise<void> {
    const { clock, pass, onFailure, promisingMs, pauseMs, intervalMs } = this.#options;
    // A timer may fire a fraction of a millisecond early.
    const nowMs = Math.max(clock.nowMs(), Math.min(...this.#requests.values()));
    const reasons = [...this.#requests].filter(([, dueMs]) => dueMs <= nowMs).map(([reason]) => reason);
    // Requests that are not due yet are answered, too, if the pass does all the work.
    const later = [...this.#requests].filter(([, dueMs]) => dueMs > nowMs);
    this.#requests.clear();
    try {
      if ((await pass(reasons)) === "part") this.#addAll(later);
      this.#backoff.reset();
      this.#retryAtMs = 0;
      this.#patientUntilMs = 0;
      this.#addAll(this.#echoes);
      if (intervalMs !== undefined && !this.#requests.has(INTERVAL))
        this.#requests.set(INTERVAL, nextTurnMs(clock.nowMs(), intervalMs));
    } catch (error) {
      const soonMs = Math.min(this.#backoff.next(), promisingMs?.() ?? Number.POSITIVE_INFINITY);
      const retryMs = Math.max(soonMs, pauseMs?.() ?? 0);
      this.#retryAtMs = clock.nowMs() + retryMs;
      this.#patientUntilMs = clock.nowMs() + (this.#options.patienceMs ?? 0);
      this.#requests.set("retry", this.#retryAtMs);
      onFailure(error, retryMs);
    } finally {
      this.#echoes.clear();
      this.#running = undefined;
      this.#arm();
    }
  }

  #addAll(requests: Iterable<readonly [reason: string, dueMs: number]>): void {
    for (const [reason, dueMs] of requests)
      this.#requests.set(reason, Math.min(dueMs, this.#requests.get(reason) ?? dueMs));
  }
}

/** A pass that ends just before a common time is not repeated at that time. */
const TOO_SOON_MS = 10;

/** Returns the next time that is a multiple of the interval. */
function nextTurnMs(nowMs: number, intervalMs: number): number {
  return Math.ceil((nowMs + TOO_SOON_MS) / intervalMs) * intervalMs;
}
