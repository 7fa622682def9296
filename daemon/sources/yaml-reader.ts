/** Reads hand-written YAML. Each mistake is recorded with its line and field, and reading continues. Pure. */
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap, type Node as YamlNode } from "yaml";
import { AddressError } from "../../pkg/ip/address.ts";

/** All mistakes in the file, each with its line and field. */
export class NodeFileError extends Error {
  constructor(mistakes: readonly string[]) {
    super(mistakes.join("; "));
    this.name = "NodeFileError";
  }
}

/** Returns the result of `read` for the file's top level. Throws `NodeFileError` if the file has a mistake. */
export function readYaml<T>(text: string, keys: readonly string[], read: (reader: Reader, top: YAMLMap) => T): T {
  const reader = new Reader();
  const document = parseDocument(text, { lineCounter: reader.lines, prettyErrors: false });
  for (const error of document.errors) reader.mistake(error.pos[0], "", error.message);
  if (document.errors.length > 0) throw new NodeFileError(reader.mistakes);
  const top = reader.map(document.contents, "the file", keys);
  const result = top === undefined ? undefined : read(reader, top);
  if (reader.mistakes.length > 0 || result === undefined) throw new NodeFileError(reader.mistakes);
  return result;
}

/** Extracts values from the parsed document and records mistakes. */
export class Reader {
  readonly lines = new LineCounter();
  readonly mistakes: string[] = [];

  mistake(offset: number, field: string, what: string): void {
    const { line } = this.lines.linePos(offset);
    this.mistakes.push(`line ${line}: ${field === "" ? "" : `${field}: `}${what}`);
  }

  map(value: unknown, field: string, keys: readonly string[]): YAMLMap | undefined {
    if (!isMap(value)) {
      this.mistake(offsetOf(value), field, `expected ${keys.join(", ")}`);
      return undefined;
    }
    for (const { key } of value.items) {
      const name = isScalar(key) ? String(key.value) : String(key);
      if (!keys.includes(name)) this.mistake(offsetOf(key), field, `unknown key ${name}: known are ${keys.join(", ")}`);
    }
    return value;
  }

  /** `around` locates a missing value in error messages. */
  list(value: unknown, field: string, around: YAMLMap): readonly unknown[] {
    if (isSeq(value) && value.items.length > 0) return value.items;
    this.mistake(offsetOf(value ?? around), field, "expected a list with at least one entry");
    return [];
  }

  text(value: unknown, field: string, around: YAMLMap): string | undefined {
    if (isScalar(value) && typeof value.value === "string" && value.value !== "") return value.value;
    this.mistake(offsetOf(value ?? around), field, "expected text");
    return undefined;
  }

  /** Reads a number from `least` to `most`. */
  integer(value: unknown, field: string, least: number, most: number): number | undefined {
    const given: unknown = isScalar(value) ? value.value : undefined;
    if (typeof given === "number" && Number.isInteger(given) && given >= least && given <= most) return given;
    this.mistake(offsetOf(value), field, `expected a number from ${least} to ${most}`);
    return undefined;
  }

  /** Reads one of `choices`. */
  choice<T extends string>(value: unknown, field: string, choices: readonly T[]): T | undefined {
    const found = choices.find((choice) => isScalar(value) && value.value === choice);
    if (found === undefined) this.mistake(offsetOf(value), field, `expected ${choices.join(" or ")}`);
    return found;
  }

  flag(value: unknown, field: string): boolean | undefined {
    if (isScalar(value) && typeof value.value === "boolean") return value.value;
    this.mistake(offsetOf(value), field, "expected true or false");
    return undefined;
  }

  value<T>(value: unknown, field: string, around: YAMLMap, parse: (text: string) => T): T | undefined {
    const text = this.text(value, field, around);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      this.mistake(offsetOf(value), field, error.message);
      return undefined;
    }
  }

  each<T>(value: unknown, field: string, around: YAMLMap, parse: (text: string) => T): T[] {
    return this.list(value, field, around).flatMap((item, at) => {
      const parsed = this.value(item, `${field}[${at}]`, around, parse);
      return parsed === undefined ? [] : [parsed];
    });
  }
}

/** Returns the offset at which a value of the document begins. */
export function offsetOf(value: unknown): number {
  return (value as YamlNode | null | undefined)?.range?.[0] ?? 0;
}
