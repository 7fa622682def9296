/** Leases addresses for one container: one from each range set, all of them or none. */

import { CniError, ErrorCode } from "../cni/errors.ts";
import type { ValidAttachment } from "../cni/network.ts";
import { type Address, formatAddress, isSameAddress } from "../ip/address.ts";
import { type Candidate, candidates, refusalOf } from "./allocator.ts";
import { formatRangeSet, type RangeSet, rangeOf } from "./ranges.ts";
import { isMadeByHand, type Reservation } from "./reservation.ts";
import type { ReservationStore } from "./store.ts";

/** The attachment already has an address: the runtime called ADD twice without DEL. */
export const DUPLICATE_ALLOCATION = 100;

/**
 * Reserves an address of every set for `owner`: a requested one if the set contains one, else the next free one.
 *
 * On failure nothing stays reserved. Throws `CniError` 11 if a set is exhausted or a requested address is reserved, 7
 * if a requested address can never be given, or `DUPLICATE_ALLOCATION`. Throws `SystemError`, too.
 */
export function leaseAddresses(
  store: ReservationStore,
  sets: readonly RangeSet[],
  requested: readonly Address[],
  owner: ValidAttachment,
): Candidate[] {
  const assigned = assignRequested(sets, requested);
  assertNotLeased(store.listOfNew(owner), sets);
  const leased: Candidate[] = [];
  try {
    for (const [index, set] of sets.entries()) {
      const candidate = assigned.get(index);
      leased.push(
        candidate ? leaseRequested(store, set, index, candidate, owner) : leaseNext(store, set, index, owner),
      );
    }
  } catch (error) {
    const { containerId, ifName } = owner;
    for (const { address } of leased) store.release({ address, containerId, ifName });
    throw error;
  }
  return leased;
}

/** Returns the requested address by the number of its set. Refuses an address for which no set is left. */
function assignRequested(sets: readonly RangeSet[], requested: readonly Address[]): Map<number, Candidate> {
  const assigned = new Map<number, Candidate>();
  for (const [position, address] of requested.entries()) {
    if (requested.findIndex((other) => isSameAddress(other, address)) < position) continue;
    const index = sets.findIndex((set, number) => !assigned.has(number) && rangeOf(set, address) !== undefined);
    const set = sets[index];
    const range = set && rangeOf(set, address);
    if (set === undefined || range === undefined) throw unassigned(sets, address);
    const refusal = refusalOf(set, address);
    if (refusal !== undefined) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `requested address ${formatAddress(address)} cannot be used: ${refusal}`,
      );
    }
    assigned.set(index, { address, range });
  }
  return assigned;
}

function unassigned(sets: readonly RangeSet[], address: Address): CniError {
  const isHeld = sets.some((set) => rangeOf(set, address) !== undefined);
  const reason = isHeld
    ? "another address of its range set is requested, too, and a container gets only one address from each set"
    : `it is in no range set (${sets.map(formatRangeSet).join("; ")})`;
  return new CniError(
    ErrorCode.invalidConfig,
    `failed to allocate all requested IPs: ${formatAddress(address)}: ${reason}`,
  );
}

function assertNotLeased(reservations: readonly Reservation[], sets: readonly RangeSet[]): void {
  const held = reservations.find(({ address }) => sets.some((set) => rangeOf(set, address) !== undefined));
  if (held === undefined) return;
  throw new CniError(
    DUPLICATE_ALLOCATION,
    `${formatAddress(held.address)} has been allocated to ${held.containerId}, duplicate allocation is not allowed`,
  );
}

function leaseRequested(
  store: ReservationStore,
  set: RangeSet,
  index: number,
  candidate: Candidate,
  owner: ValidAttachment,
): Candidate {
  if (store.reserve(candidate.address, owner, index)) return candidate;
  const holder = store.find(candidate.address);
  const file = `${store.directory}/${formatAddress(candidate.address)}`;
  const reason =
    holder === undefined || isMadeByHand(holder)
      ? `it is reserved by hand: the file ${file} names no container; remove the file to free the address`
      : `it is reserved for container ${holder.containerId}`;
  throw new CniError(
    ErrorCode.tryAgainLater,
    `requested IP address ${formatAddress(candidate.address)} is not available in range set ${formatRangeSet(set)}: ${reason}`,
  );
}

function leaseNext(store: ReservationStore, set: RangeSet, index: number, owner: ValidAttachment): Candidate {
  const next = findNext(store, set, index, owner);
  if (next !== undefined) return next;
  throw new CniError(
    ErrorCode.tryAgainLater,
    `failed to allocate for range ${index}: no IP addresses available in range set: ${formatRangeSet(set)}`,
    { details: `every address is reserved by a file in ${store.directory}` },
  );
}

/** True if a lease from `set` would fail because no address is free. */
export function isExhausted(store: ReservationStore, set: RangeSet): boolean {
  for (const { address } of candidates(set, undefined)) if (!store.isReserved(address)) return false;
  return true;
}

function findNext(
  store: ReservationStore,
  set: RangeSet,
  index: number,
  owner: ValidAttachment,
): Candidate | undefined {
  for (const candidate of candidates(set, store.lastReserved(index))) {
    // The file names identify most reserved addresses without a system call for each. Creating the file decides.
    if (!store.isReserved(candidate.address) && store.reserve(candidate.address, owner, index)) return candidate;
  }
  return undefined;
}
