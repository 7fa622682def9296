/**
 * One kind of work, done again whenever something asks for it: one pass at a time, any number of wishes answered by one
 * pass, a failed pass repeated after a growing wait.
 */
import { Backoff } from "../../pkg/cluster/backoff.ts";
import type { Clock } from "../../pkg/cluster/clock.ts";

export interface LoopOptions {
  readonly clock: Clock;
  /** Does all there is to do, whatever asked for it. `reasons` are for the log. */
  readonly pass: (reasons: readonly string[]) => Promise<void>;
  /** A pass threw; the next follows in `retryMs` at the latest. Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  /** Time from a failed pass to when one may do better, where that is known: none is put off beyond it. */
  readonly promisingMs?: () => number | undefined;
  /** Time from a failed pass to its repetition at least; 0 when left out. */
  readonly pauseMs?: () => number;
  /** For so long after a failed pass patient wishes count as brought about by it. 0 when left out. */
  readonly patienceMs?: number;
  /** Time from a successful pass to the next when nothing asks; undefined: none follows by itself. */
  readonly intervalMs?: number;
}

export interface PassRequest {
  /** How long the pass may wait for more wishes to join it. */
  readonly delayMs?: number;
  /**
   * During a pass that fails, and for `patienceMs` after it, joins its repetition instead of hurrying it. For wishes that
   * a failing pass may itself bring about. All others hurry it, and what fails then is repeated soon.
   */
  readonly isPatient?: boolean;
}

export class Loop {
  readonly #options: LoopOptions;
  readonly #backoff: Backoff;
  /** What asks for a pass, and when it wants it. */
  readonly #requests = new Map<string, number>();
  /** Patient wishes that came during the pass under way. */
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

  /** Asks for a pass that begins after this call, soon. */
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

  /** No pass begins after this call; resolves when the one under way is over. */
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
    // A timer may go off a fraction of a millisecond early.
    const nowMs = Math.max(clock.nowMs(), Math.min(...this.#requests.values()));
    const reasons = [...this.#requests].filter(([, dueMs]) => dueMs <= nowMs).map(([reason]) => reason);
    // Those that are not due yet are answered, too: a pass does all there is to do.
    this.#requests.clear();
    try {
      await pass(reasons);
      this.#backoff.reset();
      this.#retryAtMs = 0;
      this.#patientUntilMs = 0;
      for (const [reason, dueMs] of this.#echoes)
        this.#requests.set(reason, Math.min(dueMs, this.#requests.get(reason) ?? dueMs));
      if (intervalMs !== undefined) this.#requests.set("interval", clock.nowMs() + intervalMs);
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
}
