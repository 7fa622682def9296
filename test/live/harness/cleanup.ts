/**
 * What a test or the demo made, and how it is taken away again: in reverse order, at the end, on Ctrl-C, and after a
 * failure. One step that fails does not keep the others from running.
 */
export class Cleanup {
  readonly #steps: (() => void | Promise<void>)[] = [];

  push(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  /** Runs every step once; throws what failed, after all have run. */
  async run(): Promise<void> {
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

  /** Cleans up before the process ends by a signal. */
  onSignals(): void {
    for (const [signal, status] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      process.once(signal, () => {
        void this.run().finally(() => process.exit(status));
      });
    }
  }
}
