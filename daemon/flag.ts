/**
 * Shared parts of weftd's flags: each has an environment variable of the same meaning, and values may be lists of
 * networks, addresses, or addresses to listen on.
 */
import { InvalidArgumentError, Option } from "commander";
import { type Address, AddressError, parseAddress } from "../pkg/ip/address.ts";
import { type Prefix, parseSubnet } from "../pkg/ip/prefix.ts";

export interface ListenAddress {
  /** Undefined means all addresses of the host. */
  readonly host: string | undefined;
  readonly port: number;
}

export function flag(flags: string, environment: string, description: string): Option {
  return new Option(flags, description).env(environment);
}

/** Parses a list such as "192.0.2.0/24,2001:db8::/32". */
export function parseNetworks(text: string): readonly Prefix[] {
  return text.split(",").map((part) => orInvalid(() => parseSubnet(part.trim())));
}

export function parseOneAddress(text: string): Address {
  return orInvalid(() => parseAddress(text.trim()));
}

/** Parses "127.0.0.1:9468", "[::1]:9468" or ":9468". */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new InvalidArgumentError(
      "Expected host:port such as 127.0.0.1:9468, [::1]:9468, or :9468 for all addresses.",
    );
  }
  return { host: match[1] ?? (match[2] || undefined), port };
}

/** Parses a flag with an optional value. Its environment variable may be "false". */
export function parseBoolean(text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new InvalidArgumentError("Expected true or false.");
}

function orInvalid<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof AddressError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}
