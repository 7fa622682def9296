/**
 * Assigns addresses from configured ranges to containers, and records them on this host's disk. The logic is in
 * pkg/ipam; this file implements the verbs.
 */

import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import type { ValidAttachment } from "../../pkg/cni/network.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result, ResultDns } from "../../pkg/cni/result.ts";
import { formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { readDataDir, readIpamConfig } from "../../pkg/ipam/config.ts";
import { isExhausted, leaseAddresses } from "../../pkg/ipam/lease.ts";
import { formatRangeSet, type RangeSet, rangeOf, readRangeSets } from "../../pkg/ipam/ranges.ts";
import { isMadeByHand, type Reservation } from "../../pkg/ipam/reservation.ts";
import { parseResolvConf } from "../../pkg/ipam/resolv-conf.ts";
import { ReservationStore } from "../../pkg/ipam/store.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";

/** CHECK: the reservation of ADD is gone. */
export const NOT_RESERVED = 101;

export const plugin: Plugin = {
  name: "host-local",
  about: "assigns addresses from ranges, and keeps the reservations on this host",
  usesNamespace: false,
  add,
  del,
  check,
  status,
  gc,
};

function add(request: CniRequest): Result {
  const config = readIpamConfig(request);
  const dns = config.resolvConf === undefined ? {} : readDns(request, config.resolvConf);
  const leased = withStore(request, (store) => leaseAddresses(store, config.rangeSets, config.requested, request));
  const ips = leased.map(({ address, range }) => ({
    address: { address, length: range.subnet.length },
    gateway: range.gateway,
  }));
  return { interfaces: [], ips, routes: config.routes, dns };
}

function del(request: CniRequest): void {
  withExistingStore(request, (store) => {
    for (const reservation of store.listOf(request)) store.release(reservation);
  });
}

/** Checks that the attachment has a reservation, and one for each of the result's addresses in our ranges. */
function check(request: CniRequest): void {
  const { rangeSets } = readIpamConfig(request);
  const reservations = withExistingStore(request, (store) => store.listOf(request)) ?? [];
  if (reservations.length === 0) {
    throw new CniError(
      NOT_RESERVED,
      `host-local: no address is reserved for ${request.containerId} ${request.ifName} in ${directoryOf(request)}`,
    );
  }
  for (const { address } of request.requirePrevResult().ips) {
    const isOurs = rangeSets.some((set) => rangeOf(set, address.address) !== undefined);
    if (!isOurs || reservations.some((held) => isSameAddress(held.address, address.address))) continue;
    throw new CniError(
      NOT_RESERVED,
      `host-local: ${formatAddress(address.address)} of ${request.containerId} ${request.ifName} is not reserved in ` +
        directoryOf(request),
    );
  }
}

/**
 * Exhausted ranges fail STATUS only if `statusOnExhausted` is set: a DEL frees addresses, while a failing STATUS would make
 * the node NotReady, and its pods would be evicted.
 */
function status(request: CniRequest): void {
  // Ranges that only the runtime provides are not known to STATUS. Configured ranges must be valid.
  const ipam = request.config.object("ipam");
  const sets = readRangeSets(ipam, request.runtimeConfig);
  try {
    ReservationStore.assertWritable(request.system, readDataDir(request), request.network);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new CniError(
      ErrorCode.notAvailable,
      `host-local: no address can be reserved in ${directoryOf(request)}: ${error.message}`,
      { cause: error },
    );
  }
  if (ipam.optionalBoolean("statusOnExhausted")) assertNotExhausted(request, sets);
}

function assertNotExhausted(request: CniRequest, sets: readonly RangeSet[]): void {
  const exhausted = withExistingStore(request, (store) => sets.find((set) => isExhausted(store, set)));
  if (exhausted === undefined) return;
  throw new CniError(
    ErrorCode.notAvailable,
    `host-local: no IP addresses available in range set: ${formatRangeSet(exhausted)}`,
    { details: `every address has a file in ${directoryOf(request)}; reported since ipam.statusOnExhausted is set` },
  );
}

/** Continues if a reservation cannot be released, and reports all failures at the end. */
function gc(request: CniRequest): void {
  const valid = request.validAttachments;
  withExistingStore(request, (store) => {
    const failures: string[] = [];
    for (const reservation of store.list()) {
      if (isMadeByHand(reservation) || isValid(reservation, valid)) continue;
      try {
        store.release(reservation);
      } catch (error) {
        failures.push(messageOf(error));
      }
    }
    store.discardUnfinished();
    if (failures.length > 0) {
      throw new CniError(ErrorCode.ioFailure, `host-local: ${failures.length} addresses could not be released`, {
        details: failures.join("; "),
      });
    }
  });
}

function isValid({ containerId, ifName }: Reservation, attachments: readonly ValidAttachment[]): boolean {
  return attachments.some((kept) => kept.containerId === containerId && kept.ifName === ifName);
}

function withStore<T>(request: CniRequest, work: (store: ReservationStore) => T): T {
  const { system, network } = request;
  return onDisk(request, () => closing(ReservationStore.open(system, readDataDir(request), network), work));
}

/** Undefined if no address was ever reserved. Creates no directory then. */
function withExistingStore<T>(request: CniRequest, work: (store: ReservationStore) => T): T | undefined {
  const { system, network } = request;
  return onDisk(request, () => {
    const store = ReservationStore.openExisting(system, readDataDir(request), network);
    return store === undefined ? undefined : closing(store, work);
  });
}

function closing<T>(store: ReservationStore, work: (store: ReservationStore) => T): T {
  try {
    return work(store);
  } finally {
    store.close();
  }
}

/** Reports failures of the disk with code 5. */
function onDisk<T>(request: CniRequest, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const message = `host-local: reservations in ${directoryOf(request)}: ${error.message}`;
    throw new CniError(ErrorCode.ioFailure, message, { cause: error });
  }
}

function readDns(request: CniRequest, path: string): ResultDns {
  try {
    return parseResolvConf(new TextDecoder().decode(request.system.readFile(path)));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new CniError(ErrorCode.ioFailure, `ipam.resolvConf: ${error.message}`, { cause: error });
  }
}

function directoryOf(request: CniRequest): string {
  return `${readDataDir(request)}/${request.network}`;
}
