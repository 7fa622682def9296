/**
 * Reads a network configuration: objects whose keys are read by name and type.
 *
 * Keys match as in Go's encoding/json, because runtimes rely on it: the exact spelling takes precedence, otherwise the
 * case is ignored. null means absent. Every error is a `CniError` 7 that names the key's path, the expected value and
 * the actual value.
 */

import { type Address, AddressError, parseAddress } from "../ip/address.ts";
import { formatMac, parseMac } from "../ip/mac.ts";
import { type Prefix, parsePrefix, parseSubnet } from "../ip/prefix.ts";
import { CniError, ErrorCode } from "./errors.ts";

export interface IntegerLimits {
  readonly min?: number;
  readonly max?: number;
}

/** The length in characters at which errors truncate a value. */
const QUOTED_LENGTH = 80;

export class ConfigObject {
  /** The path of this object in the configuration, such as `ipam.ranges[0][1]`; `""` for the top level. */
  readonly path: string;
  readonly #values: Readonly<Record<string, unknown>>;
  /** Values by lower-case key. Built on the first lookup that finds no exact match. */
  #folded: Map<string, unknown> | undefined;

  constructor(values: Readonly<Record<string, unknown>>, path = "") {
    this.#values = values;
    this.path = path;
  }

  /** True if the key is present with a value other than null. */
  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  /** True if the key is present, even with the value null. */
  hasKey(key: string): boolean {
    return this.#lookup(key) !== undefined;
  }

  keys(): string[] {
    return Object.keys(this.#values);
  }

  /** Returns all values as parsed from JSON, for passing them to another plugin. */
  values(): Readonly<Record<string, unknown>> {
    return this.#values;
  }

  /** Returns the value as parsed from JSON. Undefined if absent or null. */
  value(key: string): unknown {
    return this.#lookup(key) ?? undefined;
  }

  optionalString(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.invalid(key, "a string");
  }

  requiredInteger(key: string, limits: IntegerLimits = {}): number {
    const value = this.optionalInteger(key, limits);
    if (value === undefined) throw this.invalid(key, `an integer${rangeText(limits)}`);
    return value;
  }

  requiredString(key: string): string {
    const value = this.optionalString(key);
    if (value === undefined || value === "") throw this.invalid(key, "a string that is not empty");
    return value;
  }

  optionalBoolean(key: string): boolean | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.invalid(key, "true or false");
  }

  optionalInteger(key: string, limits: IntegerLimits = {}): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = limits;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw this.invalid(key, `an integer${rangeText(limits)}`);
  }

  /** Reads an address. An empty string means absent, as in Go. */
  optionalAddress(key: string): Address | undefined {
    return this.#parsed(key, "an IP address", parseAddress);
  }

  /** Reads an address with its prefix length. Host bits may be set. */
  optionalPrefix(key: string): Prefix | undefined {
    return this.#parsed(key, "an address with a prefix length", parsePrefix);
  }

  /** Reads a network. Host bits are refused. */
  optionalSubnet(key: string): Prefix | undefined {
    return this.#parsed(key, "a network", parseSubnet);
  }

  /** Reads a hardware address and returns it in canonical spelling. */
  optionalMac(key: string): string | undefined {
    return this.#parsed(key, "a MAC address", (text) => formatMac(parseMac(text)));
  }

  addressList(key: string): Address[] {
    return this.#parsedList(key, parseAddress);
  }

  /** Reads addresses with their prefix lengths. Host bits may be set. */
  prefixList(key: string): Prefix[] {
    return this.#parsedList(key, parsePrefix);
  }

  /** Reads networks. Host bits are refused. */
  subnetList(key: string): Prefix[] {
    return this.#parsedList(key, parseSubnet);
  }

  /** Returns the object under `key`. If it is absent, returns an empty object, whose keys all read as absent. */
  object(key: string): ConfigObject {
    return this.optionalObject(key) ?? new ConfigObject({}, this.pathOf(key));
  }

  optionalObject(key: string): ConfigObject | undefined {
    const value = this.value(key);
    return value === undefined ? undefined : this.#asObject(value, key);
  }

  /** Returns the list under `key`, or an empty list if it is absent. */
  list(key: string): readonly unknown[] {
    const value = this.value(key);
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    throw this.invalid(key, "a list");
  }

  stringList(key: string): string[] {
    return this.list(key).map((value, index) => {
      if (typeof value !== "string") throw this.invalid(`${key}[${index}]`, "a string", value);
      return value;
    });
  }

  objectList(key: string): ConfigObject[] {
    return this.list(key).map((value, index) => this.#asObject(value, `${key}[${index}]`));
  }

  /** Returns a list of lists of objects, such as host-local's ranges. */
  objectLists(key: string): ConfigObject[][] {
    return this.list(key).map((inner, index) => {
      const innerKey = `${key}[${index}]`;
      if (!Array.isArray(inner)) throw this.invalid(innerKey, "a list", inner);
      return inner.map((value, position) => this.#asObject(value, `${innerKey}[${position}]`));
    });
  }

  /** Returns the error for an invalid value under `key`. Quotes `got`, by default the value under `key`. */
  invalid(key: string, expected: string, got: unknown = this.value(key)): CniError {
    return new CniError(ErrorCode.invalidConfig, `${this.pathOf(key)}: expected ${expected}, got ${quote(got)}`);
  }

  pathOf(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }

  #asObject(value: unknown, key: string): ConfigObject {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.invalid(key, "an object", value);
    return new ConfigObject(value as Record<string, unknown>, this.pathOf(key));
  }

  #parsed<T>(key: string, expected: string, parse: (text: string) => T): T | undefined {
    const value = this.value(key);
    if (value === undefined || value === "") return undefined;
    if (typeof value !== "string") throw this.invalid(key, expected);
    return this.#parse(key, value, parse);
  }

  #parsedList<T>(key: string, parse: (text: string) => T): T[] {
    return this.stringList(key).map((text, index) => this.#parse(`${key}[${index}]`, text, parse));
  }

  #parse<T>(key: string, text: string, parse: (text: string) => T): T {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      throw new CniError(ErrorCode.invalidConfig, `${this.pathOf(key)}: ${error.message}`, { cause: error });
    }
  }

  #lookup(key: string): unknown {
    if (Object.hasOwn(this.#values, key)) return this.#values[key];
    if (this.#folded === undefined) {
      this.#folded = new Map();
      for (const spelling of Object.keys(this.#values)) {
        this.#folded.set(spelling.toLowerCase(), this.#values[spelling]);
      }
    }
    return this.#folded.get(key.toLowerCase());
  }
}

function quote(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > QUOTED_LENGTH ? `${text.slice(0, QUOTED_LENGTH)}…` : text;
}

function rangeText({ min, max }: IntegerLimits): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? "" : ` of at most ${max}`;
}
