/**
 * CNI_ARGS: `KEY=value;KEY=value`. Each plugin accepts a few keys. An unknown key is an error unless IgnoreUnknown=1 is
 * among the pairs; Kubernetes always sends it. The text is parsed only when a plugin reads it, so an invalid pair does
 * not make DEL fail.
 */

import { AddressError } from "../ip/address.ts";
import { CniError, ErrorCode } from "./errors.ts";

export class CniArguments {
  readonly #text: string;
  #pairs: ReadonlyMap<string, string> | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  /** Returns all pairs, whatever their keys. Throws `CniError` 4 for a malformed pair. */
  all(): ReadonlyMap<string, string> {
    this.#pairs ??= parse(this.#text);
    return this.#pairs;
  }

  /**
   * Returns all pairs; `keys` are the keys that the plugin accepts. Throws `CniError` 4 for a malformed pair or an
   * unknown key.
   */
  read(...keys: readonly string[]): ReadonlyMap<string, string> {
    const pairs = this.all();
    if (pairs.size === 0) return pairs;
    const unknown = [...pairs.keys()].filter((key) => key !== "IgnoreUnknown" && !keys.includes(key));
    if (unknown.length > 0 && !isTrue(pairs.get("IgnoreUnknown") ?? "")) {
      throw invalid(`unknown ${unknown.join(", ")}: expected ${keys.join(", ")}, or IgnoreUnknown=1 among the pairs`);
    }
    return pairs;
  }
}

/**
 * Returns the comma-separated values under `key`, each parsed by `parse`. Returns an empty list if the key is absent.
 * Throws `CniError` 4, which names the key.
 */
export function parseArgument<T>(pairs: ReadonlyMap<string, string>, key: string, parse: (text: string) => T): T[] {
  const text = pairs.get(key);
  if (text === undefined) return [];
  const parts = text.split(",").map((part) => part.trim());
  return parts
    .filter((part) => part !== "")
    .map((part) => {
      try {
        return parse(part);
      } catch (error) {
        if (!(error instanceof AddressError)) throw error;
        throw invalid(`${key}: ${error.message}`);
      }
    });
}

/** True for "1" or "true" in any case, the spelling of a flag in CNI's environment variables. */
export function isTrue(text: string): boolean {
  return text === "1" || text.toLowerCase() === "true";
}

function parse(text: string): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const pair of text.split(";")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    if (equals <= 0) throw invalid(`expected KEY=value pairs with ";" between them, got "${pair}"`);
    pairs.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return pairs;
}

function invalid(message: string): CniError {
  return new CniError(ErrorCode.invalidEnvironment, `CNI_ARGS: ${message}`);
}
