/**
 * Undoes what a test or the demo made, in reverse order: at the end, on Ctrl-C, and after a failure. A step that fails
 * does not prevent the remaining steps.
 */
export class Cleanup {
  readonly #steps: (() => void | Promise<void>)[] = [];
  /** Resolves when no steps are running. */
  #idle: Promise<void> = Promise.resolve();
  #interruption: number | undefined;

  /** After a signal, throws `Interrupted` so that the caller makes nothing more. The step runs at the next `run`. */
  push(step: () => void | Promise<void>): void {
    this.#steps.push(step);
    if (this.#interruption !== undefined) throw new Interrupted();
  }

  /** Runs every step once, after any run in progress. Throws the collected failures when all steps have run. */
  run(): Promise<void> {
    const done = this.#idle.then(() => this.#runAll());
    this.#idle = done.catch(() => undefined);
    return done;
  }

  async #runAll(): Promise<void> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, `clean-up failed: ${failures.map(String).join("; ")}`);
  }

  /** The exit status for the signal that arrived; undefined if there was none. */
  get interruption(): number | undefined {
    return this.#interruption;
  }

  /**
   * Runs all steps at the first signal; then the promise resolves. The process does not exit here: only the code that
   * is making something at that moment can undo it. `push` throws there, the caller calls `run` for the rest, and
   * exits.
   */
  onSignals(): Promise<void> {
    return new Promise((resolve) => {
      for (const [signal, status] of [
        ["SIGHUP", 129],
        ["SIGINT", 130],
        ["SIGTERM", 143],
      ] as const) {
        process.once(signal, () => {
          this.#interruption ??= status;
          this.run().catch((error: Error) => console.error(error.message));
          resolve();
        });
      }
    });
  }
}

export class Interrupted extends Error {
  constructor() {
    super("interrupted");
  }
}
