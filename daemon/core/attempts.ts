/** Things to do that do not depend on each other: one that fails keeps none of the others from being done. */
/** Several things failed; `errors` are what each threw. */
export class SeveralFailures extends AggregateError {
  constructor(failures: readonly unknown[]) {
    super(failures, failures.map(textOf).join("; "));
    this.name = "SeveralFailures";
  }
}

export class Attempts {
  readonly #failures: unknown[] = [];

  /** Does `work`; a failure is kept for `end`, and gives undefined. */
  async try<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#failures.push(error);
      return undefined;
    }
  }

  /** Throws what failed: the failure itself where it was one, else `SeveralFailures`. */
  end(): void {
    const [first] = this.#failures;
    if (this.#failures.length === 1) throw first;
    if (this.#failures.length > 1) throw new SeveralFailures(this.#failures);
  }
}

function textOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
