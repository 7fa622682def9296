import { NetlinkError } from "./errors.ts";
import type { Query } from "./message.ts";

/**
 * The number of requests per datagram. The refusals of one datagram must fit the receive buffer; 64 small ones fit even
 * the default of 208 KiB.
 */
export const IN_FLIGHT = 64;

/** The number of attempts of a dump. If changes interrupt all of them, the dump fails. */
export const DUMP_ATTEMPTS = 8;

const EINTR = 4;

/** Splits a long list of requests into datagrams. */
export function* inFlight<T>(requests: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < requests.length; at += IN_FLIGHT) yield requests.slice(at, at + IN_FLIGHT);
}

export function interruptedDump(request: Query, where: string): NetlinkError {
  return new NetlinkError(request, EINTR, `the table changed during each of ${DUMP_ATTEMPTS} dumps`, where);
}
