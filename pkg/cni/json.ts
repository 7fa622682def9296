/**
 * A JSON parser whose errors give the position, with the same text on every JavaScript engine.
 *
 * The engine's own parser does the work. Only if it fails, the text is parsed again by the grammar of RFC 8259 to find
 * the first invalid character.
 */

/** Thrown for text that is not JSON. The message gives line and column. */
export class JsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JsonError";
  }
}

/** Parses JSON. Throws `JsonError`. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw explain(text) ?? new JsonError(error instanceof Error ? error.message : String(error));
  }
}

function explain(text: string): JsonError | undefined {
  const walk = new Walk(text);
  try {
    walk.document();
  } catch (error) {
    if (error instanceof JsonError) return error;
    // If nesting is too deep, the engine throws its own error, which has no useful position.
  }
  return undefined;
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
/** The content of a string up to the closing quote or the first invalid character. */
const STRING_INSIDE = /(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*/uy;

class Walk {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value();
    if (this.#next() !== undefined) throw this.#expected("nothing after the value");
  }

  #value(): void {
    const next = this.#next();
    if (next === "{") this.#members("}", () => this.#member());
    else if (next === "[") this.#members("]", () => this.#value());
    else if (next === '"') this.#string();
    else if (this.#skip(NUMBER) === 0 && this.#skip(WORD) === 0) throw this.#expected("a value");
  }

  #member(): void {
    if (this.#next() !== '"') throw this.#expected("a key in double quotes");
    this.#string();
    if (this.#next() !== ":") throw this.#expected('":"');
    this.#at++;
    this.#value();
  }

  #members(end: string, member: () => void): void {
    this.#at++;
    if (this.#next() !== end) {
      for (;;) {
        member();
        const next = this.#next();
        if (next === end) break;
        if (next !== ",") throw this.#expected(`"," or "${end}"`);
        this.#at++;
      }
    }
    this.#at++;
  }

  #string(): void {
    this.#at++;
    this.#skip(STRING_INSIDE);
    const next = this.#text[this.#at];
    if (next === "\\") throw this.#expected("a known escape");
    if (next !== '"') throw this.#expected("the end of the string");
    this.#at++;
  }

  /** Returns the next character that is not white space. Undefined at the end. */
  #next(): string | undefined {
    this.#skip(SPACE);
    return this.#text[this.#at];
  }

  #skip(pattern: RegExp): number {
    pattern.lastIndex = this.#at;
    const length = pattern.exec(this.#text)?.[0].length ?? 0;
    this.#at += length;
    return length;
  }

  #expected(what: string): JsonError {
    const before = this.#text.slice(0, this.#at);
    const line = before.split("\n").length;
    const column = this.#at - before.lastIndexOf("\n");
    const found = this.#text[this.#at];
    const got = found === undefined ? "the end of the text" : JSON.stringify(found);
    return new JsonError(`line ${line}, column ${column}: expected ${what}, got ${got}`);
  }
}
