/** Shows the present step: one line that changes on a terminal, otherwise one line for each step. */

export class Progress {
  readonly #mode: string;
  readonly #began = Date.now();

  constructor(mode: string) {
    this.#mode = mode;
  }

  step(what: string): void {
    const seconds = ((Date.now() - this.#began) / 1000).toFixed(1).padStart(5);
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${seconds} s  ${this.#mode}: ${what} ...`);
    else process.stderr.write(`${seconds} s  ${this.#mode}: ${what}\n`);
  }

  fail(error: unknown): void {
    this.end();
    console.error(`demo ${this.#mode}: ${error instanceof Error ? error.message : error}`);
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}
