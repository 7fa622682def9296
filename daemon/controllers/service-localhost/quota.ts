/** A number of things that may be there at once. */
export class Quota {
  readonly limit: number;
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** False where all are taken. Calls that return true balance with `release`. */
  take(): boolean {
    if (this.#used === this.limit) return false;
    this.#used++;
    return true;
  }

  release(): void {
    this.#used--;
  }
}
