/** A limit on the number of concurrent objects. */
export class Quota {
  readonly limit: number;
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** False if the limit is reached. Each call that returns true needs a matching `release`. */
  take(): boolean {
    if (this.#used === this.limit) return false;
    this.#used++;
    return true;
  }

  release(): void {
    this.#used--;
  }
}
