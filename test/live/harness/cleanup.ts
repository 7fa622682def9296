/**
 * What a test or the demo made, and how it is taken away again: in reverse order, at the end, on Ctrl-C, and after a
 * failure. One step that fails does not keep the others from running.
 */
export class Cleanup {
  readonly #steps: (() => void | Promise<void>)[] = [];
  /** Resolves when nobody runs steps any more. */
  #idle: Promise<void> = Promise.resolve();
  #interruption: number | undefined;

  /** After a signal it throws `Interrupted`, so that nothing more is made; the step waits for the next `run`. */
  push(step: () => void | Promise<void>): void {
    this.#steps.push(step);
    if (this.#interruption !== undefined) throw new Interrupted();
  }

  /** Runs every step once, after those that are running already; throws what failed, after all have run. */
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

  /** The exit status that tells of the signal that came; undefined where none did. */
  get interruption(): number | undefined {
    return this.#interruption;
  }

  /**
   * On the first signal everything is taken away at once, and the promise resolves. The process does not end here: what is
   * in the making at that moment only its maker knows, who is stopped by `push`, calls `run` for the rest, and exits.
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
