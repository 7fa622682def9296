/**
 * Reads fields that users wrote. A value that violates the API's definition counts as absent and is recorded as a
 * problem that names the field. Values that an API server refuses are possible: in objects that are older than a
 * validation rule, and in files.
 */
import { type Address, AddressError } from "../../ip/address.ts";
import { parseSloppyAddress } from "./sloppy.ts";

export type JsonObject = { readonly [field: string]: unknown };

/** Returns `value` if it is an object, else an empty object. */
export function objectOf(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** Returns `value` if it is a list, else an empty list. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Returns `value` if it is a string, else undefined. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

const NOTHING: readonly never[] = [];

/**
 * Like `flatMap`, whose lists have spare capacity for sixteen more elements: stores keep tens of thousands of lists.
 */
export function flatMapCompact<T, U>(
  list: readonly T[],
  transform: (item: T, index: number) => U | readonly U[],
): readonly U[] {
  const all = list.flatMap(transform);
  return all.length === 0 ? NOTHING : all.slice();
}

/**
 * Applies `parse` to each string of the list. Records strings for which it throws `AddressError`, and values that are
 * not strings.
 */
export function parseEach<T>(
  value: unknown,
  field: string,
  problems: string[],
  parse: (text: string) => T,
): readonly T[] {
  return flatMapCompact(listOf(value), (item) => {
    try {
      if (typeof item !== "string") throw new AddressError(`${JSON.stringify(item)} is not a string`);
      return [parse(item)];
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      problems.push(`${field}: ${error.message}: ignored`);
      return [];
    }
  });
}

export function addressesOf(value: unknown, field: string, problems: string[]): readonly Address[] {
  return parseEach(value, field, problems, parseSloppyAddress);
}

/** Returns a port number, or 0 if there is none. */
export function portOf(value: unknown, field: string, problems: string[]): number {
  if (value === undefined || value === null || value === 0) return 0;
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < 65_536) return value;
  problems.push(`${field}: ${JSON.stringify(value)} is not a port: expected a number from 1 to 65535: ignored`);
  return 0;
}

/** Returns the protocol. Records a protocol that Services do not support and returns undefined. TCP if it is absent. */
export function protocolOf(value: unknown, field: string, problems: string[]): 6 | 17 | 132 | undefined {
  switch (value ?? "TCP") {
    case "TCP":
      return 6;
    case "UDP":
      return 17;
    case "SCTP":
      return 132;
    default:
      problems.push(`${field}: ${JSON.stringify(value)} is not TCP, UDP or SCTP: ignored`);
      return undefined;
  }
}

const TEXTS = new Map<string, string>();
const TEXTS_LIMIT = 20_000;

/**
 * Returns one shared copy of a string that many objects have, such as a node's name. When it has some ten thousand
 * strings, it drops them and starts again.
 */
export function intern(text: string): string {
  const known = TEXTS.get(text);
  if (known !== undefined) return known;
  if (TEXTS.size >= TEXTS_LIMIT) TEXTS.clear();
  TEXTS.set(text, text);
  return text;
}

/** Shared by the `problems` of objects without problems, which are nearly all. */
export const NO_PROBLEMS: readonly string[] = [];
