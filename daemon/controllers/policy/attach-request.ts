/** Parses what a plugin sends to the policy socket. */
import type { AttachRequest } from "../../../pkg/attachment/policy/protocol.ts";
import { AddressError, parseAddress } from "../../../pkg/ip/address.ts";
import type { AttachedPod } from "./pod-installer.ts";

/** The longest request, in bytes. A pod with 32 addresses and the longest names needs less than half of it. */
export const LONGEST_REQUEST = 8192;

/** The most addresses of an interface. */
const MOST_ADDRESSES = 64;

/** A message that is not a request. The text names the field. */
export class RequestError extends Error {
  constructor(reason: string) {
    super(`the request is not valid: ${reason}`);
    this.name = "RequestError";
  }
}

export interface ParsedRequest extends AttachedPod {
  readonly ifName: string;
}

/** Throws `RequestError`. */
export function parseRequest(line: string): ParsedRequest {
  const value = jsonOf(line);
  if (value.version !== 1) {
    throw new RequestError(
      `version is ${quote(value.version)}, and this weftd knows version 1: install the executables of weftd's version`,
    );
  }
  const key = text(value, "pod");
  const uid = text(value, "uid");
  if (!/^[^/]*\/[^/]*$/.test(key)) throw new RequestError(`pod is ${quote(key)}: expected "namespace/name"`);
  if (uid === "" && !/^[^/]+\/[^/]+$/.test(key)) throw new RequestError("neither uid nor pod names a pod");
  return {
    key,
    uid,
    containerId: text(value, "containerId"),
    ifName: text(value, "ifName"),
    addresses: addressesOf(value),
  };
}

function jsonOf(line: string): Partial<Record<keyof AttachRequest, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // Reported below.
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new RequestError(`${quote(line)} is not a JSON object`);
}

function text(value: Readonly<Record<string, unknown>>, field: string): string {
  const found = value[field];
  if (typeof found === "string") return found;
  throw new RequestError(`${field} is ${quote(found)}: expected text`);
}

function addressesOf({ addresses }: Partial<Record<keyof AttachRequest, unknown>>) {
  if (!Array.isArray(addresses) || addresses.length === 0 || addresses.length > MOST_ADDRESSES) {
    throw new RequestError(`addresses is ${quote(addresses)}: expected a list of 1 to ${MOST_ADDRESSES} addresses`);
  }
  return addresses.map((each) => {
    try {
      return parseAddress(String(each));
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      throw new RequestError(`addresses contains ${quote(each)}: ${error.message}`);
    }
  });
}

const LONGEST_QUOTE = 80;
const quote = (value: unknown) => (JSON.stringify(value) ?? "missing").slice(0, LONGEST_QUOTE);
