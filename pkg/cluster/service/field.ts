/**
 * Reading of fields that clients wrote. What is not as the API defines it counts as absent and is recorded in words, each
 * naming the field. What an API server would have refused is possible all the same: objects older than a check, and files.
 */
import { type Address, AddressError } from "../../ip/address.ts";
import { parseSloppyAddress } from "./sloppy.ts";

export type JsonObject = { readonly [field: string]: unknown };

/** An object that is empty where `value` is none. */
export function objectOf(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** A list that is empty where `value` is none. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Undefined where `value` is no text. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

const NOTHING: readonly never[] = [];

/** As `flatMap`, whose lists have room for sixteen more: stores hold tens of thousands of them. */
export function flatMapCompact<T, U>(
  list: readonly T[],
  transform: (item: T, index: number) => U | readonly U[],
): readonly U[] {
  const all = list.flatMap(transform);
  return all.length === 0 ? NOTHING : all.slice();
}

/** What `parse` makes of each text of the list; those it throws `AddressError` for, and what is no text, are recorded. */
export function parseEach<T>(
  value: unknown,
  field: string,
  problems: string[],
  parse: (text: string) => T,
): readonly T[] {
  return flatMapCompact(listOf(value), (item) => {
    try {
      if (typeof item !== "string") throw new AddressError(`${JSON.stringify(item)} is not a text`);
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

/** A port number, or 0 where there is none. */
export function portOf(value: unknown, field: string, problems: string[]): number {
  if (value === undefined || value === null || value === 0) return 0;
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < 65_536) return value;
  problems.push(`${field}: ${JSON.stringify(value)} is not a port: expected a number from 1 to 65535: ignored`);
  return 0;
}

/** Undefined where it is none that Services know, which is recorded. Absent: TCP. */
export function protocolOf(value: unknown, field: string, problems: string[]): 6 | 17 | 132 | undefined {
  switch (value ?? "TCP") {
    case "TCP":
      return 6;
    case "UDP":
      return 17;
    case "SCTP":
      return 132;
    default:
      problems.push(`${field}: ${JSON.stringify(value)} is none of TCP, UDP and SCTP: ignored`);
      return undefined;
  }
}

const TEXTS = new Map<string, string>();
const TEXTS_LIMIT = 20_000;

/** One copy of a text that many objects have, such as a node's name. Beyond some ten thousand it forgets and starts anew. */
export function intern(text: string): string {
  const known = TEXTS.get(text);
  if (known !== undefined) return known;
  if (TEXTS.size >= TEXTS_LIMIT) TEXTS.clear();
  TEXTS.set(text, text);
  return text;
}

/** For `problems` of objects without any, which are nearly all. */
export const NO_PROBLEMS: readonly string[] = [];
