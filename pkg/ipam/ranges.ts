/**
 * The ranges from which addresses are leased. A container gets one address from each range set. The ranges of a set are
 * used one after the other.
 */

import type { ConfigObject } from "../cni/config.ts";
import { CniError, ErrorCode } from "../cni/errors.ts";
import { type Address, addressBits, compareAddresses, formatAddress } from "../ip/address.ts";
import { contains, firstHost, formatPrefix, lastAddress, type Prefix } from "../ip/prefix.ts";

export interface Range {
  readonly subnet: Prefix;
  /** The first address that may be leased. It is the network's own address if `rangeStart` names it. */
  readonly start: Address;
  /** The last address that may be leased. It is the broadcast address if `rangeEnd` names it. */
  readonly end: Address;
  /** The gateway in the result. It is never leased. */
  readonly gateway: Address;
}

/** The ranges of a set: at least one, all of one family, without overlaps. */
export type RangeSet = readonly Range[];

/**
 * Returns all range sets of an `ipam` object, in the order that numbers their cursors: the runtime's
 * (`runtimeConfig.ipRanges`), the old flat keys (`ipam.subnet` and so on), `ipam.ranges`.
 *
 * Empty if none is configured. Throws `CniError` 7, which names the key.
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
    throw invalid(path, `expected ranges of one address family, got ${both}: use a separate set for each family`);
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

/** The gateway may be outside the subnet: routed blocks of addresses are reached by a gateway outside the block. */
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

/**
 * Returns the last address of an IPv6 subnet. For IPv4, returns the one before it, because the last one is the
 * broadcast address.
 */
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

/** True if `address` is within the bounds of `range`. */
export function isWithin(range: Range, address: Address): boolean {
  return compareAddresses(range.start, address) <= 0 && compareAddresses(address, range.end) <= 0;
}

/** Returns the number of addresses that can be leased to pods. Excludes the gateway. */
export function capacityOf(range: Range): bigint {
  const count = range.end.value - range.start.value + 1n;
  return isWithin(range, range.gateway) ? count - 1n : count;
}

/** Returns the range of `set` whose bounds contain `address`. */
export function rangeOf(set: RangeSet, address: Address): Range | undefined {
  return set.find((range) => isWithin(range, address));
}

/** Formats as `10.244.0.1-10.244.0.254`, as in the reference's error messages, for which users search logs. */
export function formatRange(range: Range): string {
  return `${formatAddress(range.start)}-${formatAddress(range.end)}`;
}

export function formatRangeSet(set: RangeSet): string {
  return set.map(formatRange).join(",");
}

function invalid(path: string, message: string): CniError {
  return new CniError(ErrorCode.invalidConfig, `${path}: ${message}`);
}
