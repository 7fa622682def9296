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

/** A process that ran for so long has started well: the next start begins a new back-off. */
const STEADY_MS = 10_000;
const BACKOFF = { initialMs: 200, maxMs: 30_000 };

/** From SIGTERM to SIGKILL. */
const STOP_MS = 3000;

export interface SupervisedProcessParts {
  readonly clock: Clock;
  /** Names controller and process. */
  readonly log: Logger;
  /** What is wrong with the process now, in words; nothing where it runs, or has ended as it should. */
  readonly onTrouble: (reasons: readonly string[]) => void;
}

export class SupervisedProcess {
  readonly #step: ProcessStep;
  readonly #parts: SupervisedProcessParts;
  readonly #backoff: Backoff;
  #child: ChildProcess | undefined;
  #startedMs = 0;
  #cancelRestart: () => void = () => undefined;
  /** Of the last child that was told to end. */
  #ending: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(step: ProcessStep, parts: SupervisedProcessParts) {
    this.#step = step;
    this.#parts = parts;
    this.#backoff = new Backoff({ ...BACKOFF, random: () => parts.clock.random() });
  }

  /** True where this is the process that `step` wants; it may be between two starts, or have ended as it should. */
  runs({ argv, restart }: ProcessStep): boolean {
    return !this.#isStopped && restart === this.#step.restart && isDeepStrictEqual(argv, this.#step.argv);
  }

  /** Resolves when the process runs. Rejects where it cannot be started; it is tried again with back-off all the same. */
  async start(): Promise<void> {
    const { log, clock } = this.#parts;
    const [program] = this.#step.argv;
    if (this.#isStopped) throw new Error(`${program} is not started: it is to end`);
    const child = this.#spawn();
    this.#child = child;
    this.#startedMs = clock.nowMs();
    // After "error" no "exit" follows where the program could not be started.
    const failed = new Promise<Error>((resolve) => child.once("error", resolve));
    child.once("exit", (code, signal) => this.#ended(child, code, signal));
    const error = await Promise.race([failed, once(child, "spawn").then(() => undefined)]);
    if (error !== undefined) {
      if (this.#child === child) this.#child = undefined;
      this.#cannotStart(error);
    }
    // Later errors (a signal that cannot be sent) are answered by the process's end.
    child.on("error", (cause) => log.warn({ err: cause }, "process error"));
    this.#log(child.stdout, "stdout");
    this.#log(child.stderr, "stderr");
    log.info({ argv: this.#step.argv, pid: child.pid }, "process started");
    this.#parts.onTrouble([]);
  }

  /** Where `changedFiles` has one of the step's files: tells the process, or starts it anew. True when something was done. */
  async reload({ reload }: ProcessStep, changedFiles: ReadonlySet<string>): Promise<boolean> {
    if (reload?.files.some((path) => changedFiles.has(path)) !== true) return false;
    const { log } = this.#parts;
    if (reload.signal !== undefined && this.#child !== undefined) {
      log.info({ signal: reload.signal }, "process reloads its configuration");
      return this.#child.kill(reload.signal);
    }
    // Between two starts, or ended, or without a signal of its own: what it reads at its start is the new content.
    await this.#end();
    this.#backoff.reset();
    await this.start();
    return true;
  }

  /** For the end of weftd itself, which waits for nothing. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  /** Resolves when the process has ended; it is not started again. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#end();
  }

  /** What is out of memory, or of room for arguments, is thrown at once; a program that is not there is told later. */
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

  /** Also for one who asks while another waits for the same end. */
  #end(): Promise<void> {
    this.#cancelRestart();
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined) this.#ending = this.#endOf(child);
    return this.#ending;
  }

  async #endOf(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    // One that could not even be started has no exit.
    const exited = once(child, "exit").catch(() => undefined);
    child.kill("SIGTERM");
    const cancelKill = this.#parts.clock.setTimer(STOP_MS, () => child.kill("SIGKILL"));
    await exited;
    cancelKill();
    this.#parts.log.info("process stopped");
  }

  /** Nothing is to be done where weftd itself has ended it. */
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
    log.warn({ reason, restartMs: Math.round(restartMs) }, "process ended: it is started again");
    onTrouble([`${reason}; it is started again`]);
    this.#cancelRestart();
    this.#cancelRestart = clock.setTimer(restartMs, () => {
      // A failed start has asked for the next one, and has said why.
      if (!this.#isStopped) this.start().catch(() => undefined);
    });
  }

  #log(stream: Readable | null, name: "stdout" | "stderr"): void {
    if (stream === null) return;
    const lines = createInterface({ input: stream });
    lines.on("line", (line) => this.#parts.log.info({ stream: name, line }, "process output"));
  }
}
