/** One child process, from its start to its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { isDeepStrictEqual } from "node:util";
import { Backoff } from "../../../pkg/cluster/backoff.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { ProcessStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Logger } from "../log.ts";
import { programEnvironment } from "./execute.ts";

/** A process that ran this long has started well, so its back-off is reset. */
const STEADY_MS = 10_000;
const BACKOFF = { initialMs: 200, maxMs: 30_000 };

/** The time from SIGTERM to SIGKILL. */
const STOP_MS = 3000;

export interface SupervisedProcessParts {
  readonly clock: Clock;
  /** A logger whose fields name the controller and the process. */
  readonly log: Logger;
  /** Called with the current faults of the process, in words; with none if it runs or has ended as intended. */
  readonly onTrouble: (reasons: readonly string[]) => void;
}

export class SupervisedProcess {
  readonly #step: ProcessStep;
  readonly #parts: SupervisedProcessParts;
  readonly #backoff: Backoff;
  #child: ChildProcess | undefined;
  #startedMs = 0;
  #cancelRestart: () => void = () => undefined;
  /** The ending of the last child that was stopped. */
  #ending: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(step: ProcessStep, parts: SupervisedProcessParts) {
    this.#step = step;
    this.#parts = parts;
    this.#backoff = new Backoff({ ...BACKOFF, random: () => parts.clock.random() });
  }

  /** True if this is the process of `step`. It may be waiting for a restart, or have ended as intended. */
  runs({ argv, restart }: ProcessStep): boolean {
    return !this.#isStopped && restart === this.#step.restart && isDeepStrictEqual(argv, this.#step.argv);
  }

  /** Resolves when the process runs. Rejects if it cannot be started; it is still retried with back-off. */
  async start(): Promise<void> {
    const { log, clock } = this.#parts;
    const [program] = this.#step.argv;
    if (this.#isStopped) throw new Error(`${program} is not started: it has been stopped`);
    const child = this.#spawn();
    this.#child = child;
    this.#startedMs = clock.nowMs();
    // If the program could not be started, "error" is emitted and no "exit" follows.
    const failed = new Promise<Error>((resolve) => child.once("error", resolve));
    child.once("exit", (code, signal) => this.#ended(child, code, signal));
    const error = await Promise.race([failed, once(child, "spawn").then(() => undefined)]);
    if (error !== undefined) {
      if (this.#child === child) this.#child = undefined;
      this.#cannotStart(error);
    }
    // Later errors (a signal that cannot be sent) need no action: the process's end is handled.
    child.on("error", (cause) => log.warn({ err: cause }, "process error"));
    this.#log(child.stdout, "stdout");
    this.#log(child.stderr, "stderr");
    log.info({ argv: this.#step.argv, pid: child.pid }, "process started");
    this.#parts.onTrouble([]);
  }

  /**
   * Makes the process reload, or restarts it, if `changedFiles` has one of the step's files. True if something was
   * done.
   */
  async reload({ reload }: ProcessStep, changedFiles: ReadonlySet<string>): Promise<boolean> {
    if (reload?.files.some((path) => changedFiles.has(path)) !== true) return false;
    const { log } = this.#parts;
    if (reload.signal !== undefined && this.#child !== undefined) {
      log.info({ signal: reload.signal }, "process reloads its configuration");
      return this.#child.kill(reload.signal);
    }
    // The process is waiting for a restart, has ended, or has no reload signal: a start reads the new content.
    await this.#end();
    this.#backoff.reset();
    await this.start();
    return true;
  }

  /** Kills the process without waiting, for weftd's own end. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  /** Resolves when the process has ended. It is not started again. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#end();
  }

  /**
   * spawn throws at once if memory or space for arguments is exhausted. It reports a missing program later, as an
   * event.
   */
  #spawn(): ChildProcess & { readonly stdout: Readable; readonly stderr: Readable } {
    const [program, ...args] = this.#step.argv;
    try {
      return spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: programEnvironment() });
    } catch (error) {
      return this.#cannotStart(error as Error);
    }
  }

  #cannotStart(error: Error): never {
    const reason = `${this.#step.argv[0]} cannot be started: ${error.message}`;
    this.#again(reason);
    throw new Error(reason, { cause: error });
  }

  /** Ends the child. Concurrent callers wait for the same end. */
  #end(): Promise<void> {
    this.#cancelRestart();
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined) this.#ending = this.#endOf(child);
    return this.#ending;
  }

  async #endOf(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    // A process that could not be started has no exit.
    const exited = once(child, "exit").catch(() => undefined);
    child.kill("SIGTERM");
    const cancelKill = this.#parts.clock.setTimer(STOP_MS, () => child.kill("SIGKILL"));
    await exited;
    cancelKill();
    this.#parts.log.info("process stopped");
  }

  /** Handles the end of a child. Does nothing if weftd itself ended it. */
  #ended(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    const { argv, restart } = this.#step;
    if (this.#parts.clock.nowMs() - this.#startedMs >= STEADY_MS) this.#backoff.reset();
    if (restart === "on-failure" && code === 0) {
      this.#parts.log.info("process has ended");
      return;
    }
    this.#again(`${argv[0]} ended ${signal === null ? `with code ${code}` : `by ${signal}`}`);
  }

  #again(reason: string): void {
    if (this.#isStopped) return;
    const { clock, log, onTrouble } = this.#parts;
    const restartMs = this.#backoff.next();
    log.warn({ reason, restartMs: Math.round(restartMs) }, "process ended; restarting it");
    onTrouble([`${reason}; restarting it`]);
    this.#cancelRestart();
    this.#cancelRestart = clock.setTimer(restartMs, () => {
      // A failed start has already scheduled the next one and logged its reason.
      if (!this.#isStopped) this.start().catch(() => undefined);
    });
  }

  #log(stream: Readable | null, name: "stdout" | "stderr"): void {
    if (stream === null) return;
    const lines = createInterface({ input: stream });
    lines.on("line", (line) => this.#parts.log.info({ stream: name, line }, "process output"));
  }
}
