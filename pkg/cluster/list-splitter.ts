/**
 * Splits the JSON of a list of objects into its items while it arrives. A page with 500 Nodes has 10 MiB or more, of
 * which a parser keeps little. With one item in memory at a time, the rest does not accumulate.
 */

const QUOTE = '"'.charCodeAt(0);
const BACKSLASH = "\\".charCodeAt(0);
const [OPEN_OBJECT, CLOSE_OBJECT] = ["{".charCodeAt(0), "}".charCodeAt(0)];
const [OPEN_ARRAY, CLOSE_ARRAY] = ["[".charCodeAt(0), "]".charCodeAt(0)];

/** The end of a list's JSON before the bracket that opens its items. */
const ITEMS_FOLLOW = /[{,]\s*"items"\s*:\s*$/;
/** The number of open brackets in the list itself, and between its items. */
const [IN_LIST, BETWEEN_ITEMS] = [1, 2];
const PLACEHOLDER = "0";

export class ListSplitter {
  /** Keeps the bytes of a character that has not arrived completely. All other cuts are next to a bracket. */
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #list = "";
  #item = "";
  #depth = 0;
  #isInItems = false;
  #isInString = false;
  #isAfterBackslash = false;

  /**
   * Returns the JSON of each item that `bytes` complete. Only objects and arrays are items. Does not check the syntax:
   * the items and `list` are valid JSON exactly if the whole is.
   */
  push(bytes: Uint8Array): string[] {
    const items: string[] = [];
    let start = 0;
    for (let at = this.#afterString(bytes, 0); at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        this.#isInString = true;
        at = this.#afterString(bytes, at + 1) - 1;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (this.#depth === IN_LIST || this.#isBetweenItems) {
          this.#take(bytes.subarray(start, at));
          start = at;
        }
        if (this.#depth === IN_LIST) this.#isInItems = byte === OPEN_ARRAY && ITEMS_FOLLOW.test(this.#list);
        this.#depth++;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        this.#depth--;
        if (this.#isBetweenItems) {
          items.push(this.#item + this.#decode(bytes.subarray(start, at + 1)));
          this.#item = "";
          this.#list += PLACEHOLDER;
          start = at + 1;
        }
      }
    }
    this.#take(bytes.subarray(start));
    return items;
  }

  /** The JSON of the list so far, with the number 0 for each item that was returned. */
  get list(): string {
    return this.#list;
  }

  get #isBetweenItems(): boolean {
    return this.#isInItems && this.#depth === BETWEEN_ITEMS;
  }

  /** Returns the position after the string that continues at `at`. Returns `at` outside strings. */
  #afterString(bytes: Uint8Array, at: number): number {
    if (!this.#isInString) return at;
    let isAfterBackslash = this.#isAfterBackslash;
    for (; at < bytes.length; at++) {
      if (isAfterBackslash) isAfterBackslash = false;
      else if (bytes[at] === BACKSLASH) isAfterBackslash = true;
      else if (bytes[at] === QUOTE) {
        this.#isInString = false;
        at++;
        break;
      }
    }
    this.#isAfterBackslash = isAfterBackslash;
    return at;
  }

  /** Appends the part of an item, or of the list between items. */
  #take(bytes: Uint8Array): void {
    if (this.#isInItems && this.#depth > BETWEEN_ITEMS) this.#item += this.#decode(bytes);
    else this.#list += this.#decode(bytes);
  }

  #decode(bytes: Uint8Array): string {
    return this.#decoder.decode(bytes, { stream: true });
  }
}
