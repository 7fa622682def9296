/**
 * The ranges that addresses are given from. A container gets one address from each range set; the ranges of a set are
 * used up one after the other.
 */

import type { ConfigObject } from "../cni/config.ts";
import { CniError, ErrorCode } from "../cni/errors.ts";
import { type Address, addressBits, compareAddresses, formatAddress } from "../ip/address.ts";
import { contains, firstHost, formatPrefix, lastAddress, type Prefix } from "../ip/prefix.ts";

export interface Range {
  readonly subnet: Prefix;
  /** First address that may be given: also the network's own where `rangeStart` names it. */
  readonly start: Address;
  /** Last address that may be given: also the broadcast address where `rangeEnd` names it. */
  readonly end: Address;
  /** Goes into the result, and is never given. */
  readonly gateway: Address;
}

/** Never empty, of one family, without overlaps. */
export type RangeSet = readonly Range[];

/**
 * All range sets of an `ipam` object, in the order that numbers their cursors: those that the runtime gave
 * (`runtimeConfig.ipRanges`), the flat keys of old (`ipam.subnet` and so on), `ipam.ranges`.
 *
 * Empty when nothing is configured. Throws `CniError` 7 naming the key.
 */
export function readRangeSets(ipam: ConfigObject, runtimeConfig: ConfigObject): RangeSet[] {
  const sets = runtimeConfig.objectLists("ipRanges").map((set, index) => {
    return readRangeSet(set, runtimeConfig.pathOf(`ipRanges[${index}]`));
  });
  if (ipam.has("subnet")) sets.push([readRange(ipam)]);
  for (const [index, set] of ipam.objectLists("ranges").entries()) {
    sets.push(readRangeSet(set, ipam.pathOf(`ranges[${index}]`)));
  }
  assertDisjoint(sets.flat(), ipam.path);
  return sets;
}

function readRangeSet(objects: readonly ConfigObject[], path: string): RangeSet {
  const ranges = objects.map(readRange);
  const [first] = ranges;
  if (first === undefined) throw invalid(path, "expected at least one range, got an empty set");
  const stranger = ranges.find((range) => range.subnet.address.family !== first.subnet.address.family);
  if (stranger !== undefined) {
    const both = `${formatPrefix(first.subnet)} and ${formatPrefix(stranger.subnet)}`;
    throw invalid(path, `expected ranges of one address family, got ${both}: give each family a set of its own`);
  }
  return ranges;
}

function readRange(object: ConfigObject): Range {
  const subnet = object.optionalSubnet("subnet");
  if (subnet === undefined) throw object.invalid("subnet", "a network such as 10.244.0.0/24");
  const { family } = subnet.address;
  if (addressBits(family) - subnet.length < 2) {
    throw object.invalid("subnet", `a network of at least four addresses (/${addressBits(family) - 2} or shorter)`);
  }
  const start = addressWithin(object, "rangeStart", subnet) ?? firstHost(subnet);
  const end = addressWithin(object, "rangeEnd", subnet) ?? lastHost(subnet);
  if (compareAddresses(start, end) > 0) {
    throw object.invalid("rangeEnd", `an address not before rangeStart, ${formatAddress(start)}`, formatAddress(end));
  }
  return { subnet, start, end, gateway: gatewayOf(object, subnet) };
}

/** It may lie outside the subnet: routed blocks are reached by a gateway that is none of them. */
function gatewayOf(object: ConfigObject, subnet: Prefix): Address {
  const { family } = subnet.address;
  const gateway = object.optionalAddress("gateway") ?? firstHost(subnet);
  if (gateway.family === family) return gateway;
  throw object.invalid("gateway", `an IPv${family} address`);
}

function addressWithin(object: ConfigObject, key: string, subnet: Prefix): Address | undefined {
  const address = object.optionalAddress(key);
  if (address === undefined || contains(subnet, address)) return address;
  throw object.invalid(key, `an address in ${formatPrefix(subnet)}`);
}

/** The last address, but in IPv4 the one before it, since the last one is for broadcasts. */
function lastHost(subnet: Prefix): Address {
  const { family, value } = lastAddress(subnet);
  return { family, value: family === 4 ? value - 1n : value };
}

function assertDisjoint(ranges: readonly Range[], path: string): void {
  for (const [index, one] of ranges.entries()) {
    const other = ranges.slice(index + 1).find((later) => isWithin(one, later.start) || isWithin(later, one.start));
    if (other !== undefined) {
      throw invalid(path, `expected ranges without overlap, got ${formatRange(one)} and ${formatRange(other)}`);
    }
  }
}

/** True when `range` may give `address`, as far as its bounds say. */
export function isWithin(range: Range, address: Address): boolean {
  return compareAddresses(range.start, address) <= 0 && compareAddresses(address, range.end) <= 0;
}

/** How many addresses it can give to pods at all: the gateway is none of them. */
export function capacityOf(range: Range): bigint {
  const count = range.end.value - range.start.value + 1n;
  return isWithin(range, range.gateway) ? count - 1n : count;
}

/** The range of `set` whose bounds hold `address`. */
export function rangeOf(set: RangeSet, address: Address): Range | undefined {
  return set.find((range) => isWithin(range, address));
}

/** `10.244.0.1-10.244.0.254`: the form that error messages have, and that people search logs for. */
export function formatRange(range: Range): string {
  return `${formatAddress(range.start)}-${formatAddress(range.end)}`;
}

export function formatRangeSet(set: RangeSet): string {
  return set.map(formatRange).join(",");
}

function invalid(path: string, message: string): CniError {
  return new CniError(ErrorCode.invalidConfig, `${path}: ${message}`);
}
