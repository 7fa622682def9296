/** Lines out of a stream of bytes: the framing of a watch, one JSON object a line. */

/** Larger than any object that etcd stores (1.5 MiB) can be when written as JSON. */
const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;

export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #rest = "";

  /** The lines that `bytes` complete, without their ends; empty lines are left out. Throws on a line without end. */
  push(bytes: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MAX_LINE_CHARACTERS)
      throw new Error(`a line is longer than ${MAX_LINE_CHARACTERS} characters`);
    return lines.filter((line) => line.trim() !== "");
  }

  /** True when the stream stopped inside a line. */
  get isInLine(): boolean {
    return this.#rest.trim() !== "";
  }
}
