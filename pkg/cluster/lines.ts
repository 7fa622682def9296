/** Splits a byte stream into lines: a watch sends one JSON object in each line. */

/** Larger than any object that etcd stores (1.5 MiB) can be as JSON. */
const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;

export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #rest = "";

  /**
   * Returns the lines that `bytes` complete, without line ends and without empty lines. Throws on a line that is too
   * long.
   */
  push(bytes: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MAX_LINE_CHARACTERS)
      throw new Error(`a line is longer than ${MAX_LINE_CHARACTERS} characters`);
    return lines.filter((line) => line.trim() !== "");
  }

  /** True if the stream stopped inside a line. */
  get isInLine(): boolean {
    return this.#rest.trim() !== "";
  }
}
