/** Runs independent actions: if one fails, the others are still done. */
/** The error of `Attempts` if more than one action failed. `errors` has what each action threw. */
export class SeveralFailures extends AggregateError {
  constructor(failures: readonly unknown[]) {
    super(failures, failures.map(textOf).join("; "));
    this.name = "SeveralFailures";
  }
}

export class Attempts {
  readonly #failures: unknown[] = [];

  /** Runs `work`. Keeps a failure for `end` and returns undefined in that case. */
  async try<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#failures.push(error);
      return undefined;
    }
  }

  /** Throws if an action failed: the failure itself if there was one, else `SeveralFailures`. */
  end(): void {
    const [first] = this.#failures;
    if (this.#failures.length === 1) throw first;
    if (this.#failures.length > 1) throw new SeveralFailures(this.#failures);
  }
}

function textOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
