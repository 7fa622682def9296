import { NetlinkError } from "./errors.ts";
import type { Query } from "./message.ts";

/** Refusals of one datagram must fit the receive buffer: 64 small ones do, even in the default 208 KiB. */
const IN_FLIGHT = 64;

/** A dump that was interrupted this often in a row meets a table in constant change: give up and say so. */
export const DUMP_ATTEMPTS = 8;

const EINTR = 4;

/** Cuts a long run of requests into datagrams. */
export function* inFlight<T>(requests: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < requests.length; at += IN_FLIGHT) yield requests.slice(at, at + IN_FLIGHT);
}

export function interruptedDump(request: Query, where: string): NetlinkError {
  return new NetlinkError(request, EINTR, `the table changed during each of ${DUMP_ATTEMPTS} dumps`, where);
}
