/** A program that keeps running in a namespace, with what it wrote kept for whoever asks. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Cleanup } from "./cleanup.ts";
import type { Namespace } from "./namespace.ts";

export class Running {
  readonly #child: ChildProcess;
  #output = "";

  constructor(namespace: Namespace, file: string, args: readonly string[], cleanup: Cleanup) {
    // nsenter replaces itself: the process is the program.
    this.#child = spawn("nsenter", [`--net=${namespace.path}`, file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
      });
    }
    cleanup.push(() => this.stop("SIGTERM"));
  }

  /** All it wrote so far, both streams. */
  get output(): string {
    return this.#output;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends a signal that does not end it. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
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

/** Everything takes so many times longer here: the emulated machine (hack/vm) sets it. */
export const PATIENCE = Number(process.env.WEFT_PATIENCE ?? 1);

/** Limits of waiting are those of a quiet machine; other work on it may take most of its processors. */
const BUSY = 3;

/** Whoever should have answered has ended: waiting longer helps nothing. */
export class Gone extends Error {}

/**
 * Repeats `check` until it no longer throws. Its last error is thrown after `timeoutMs`, three times that on a busy machine,
 * and `Gone` at once.
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
