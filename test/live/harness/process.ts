/** A program that runs in a namespace; its output is kept. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Cleanup } from "./cleanup.ts";
import type { Namespace } from "./namespace.ts";

export class Running {
  readonly #child: ChildProcess;
  #output = "";

  constructor(namespace: Namespace, file: string, args: readonly string[], cleanup: Cleanup) {
    // nsenter executes the program in its own process, so the child is the program.
    this.#child = spawn("nsenter", [`--net=${namespace.path}`, file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
    cleanup.push(() => this.stop("SIGTERM"));
  }

  /** All its output so far, both streams. */
  get output(): string {
    return this.#output;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends a signal that does not end the program. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a signal and waits until the program ends. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    if (!this.isRunning) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill(signal);
    await ended;
  }

  /** Waits until its output matches. */
  async says(pattern: RegExp, timeoutMs = 10_000): Promise<void> {
    await eventually(() => {
      if (pattern.test(this.#output)) return;
      const isRunning = this.isRunning;
      throw new (isRunning ? Error : Gone)(
        `expected ${pattern} in the output of a program that ${isRunning ? "runs" : "ended"}:\n${this.#output}`,
      );
    }, timeoutMs);
  }
}

/** Factor for all time limits. The emulated machine (hack/vm) sets it. */
export const PATIENCE = Number(process.env.WEFT_PATIENCE ?? 1);

/** Time limits assume an idle machine; other work may use most of its processors. */
const BUSY = 3;

/** The process that should answer has ended, so waiting longer is useless. */
export class Gone extends Error {}

/**
 * Repeats `check` until it no longer throws. Throws its last error after `timeoutMs` (three times as long on a busy
 * machine), and `Gone` immediately.
 */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 10_000, everyMs = 20): Promise<T> {
  const deadline = Date.now() + timeoutMs * BUSY * PATIENCE;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (error instanceof Gone || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  }
}
