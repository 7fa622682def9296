/** IP prefixes: an address with a prefix length. The address may have host bits, as an interface's address does. */

import { type Address, AddressError, addressBits, formatAddress, isSameAddress, parseAddress } from "./address.ts";

export interface Prefix {
  readonly address: Address;
  /** The number of leading bits that identify the network: 0 to 32 (IPv4) or 0 to 128 (IPv6). */
  readonly length: number;
}

/** 127.0.0.0/8 (RFC 1122 section 3.2.1.3). */
export const IPV4_LOOPBACK: Prefix = { address: { family: 4, value: 0x7f00_0000n }, length: 8 };

const LENGTH = /^(?:0|[1-9][0-9]{0,2})$/;

/** Parses "address/length". Host bits may be set. Throws `AddressError`. */
export function parsePrefix(text: string): Prefix {
  const slash = text.indexOf("/");
  if (slash < 0) {
    throw new AddressError(`"${text}" is not a prefix: expected an address and a prefix length, such as 10.244.0.0/24`);
  }
  const address = parseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  const length = Number(lengthText);
  const bits = addressBits(address.family);
  if (!LENGTH.test(lengthText) || length > bits) {
    throw new AddressError(
      `"${text}" is not a prefix: expected a prefix length from 0 to ${bits}, got "${lengthText}"`,
    );
  }
  return { address, length };
}

/** Parses a network: a prefix without host bits. Throws `AddressError`; its message names the corrected network. */
export function parseSubnet(text: string): Prefix {
  const prefix = parsePrefix(text);
  const network = networkOf(prefix);
  if (!isSameAddress(prefix.address, network.address)) {
    throw new AddressError(`"${text}" has host bits set: expected the network's own address, ${formatPrefix(network)}`);
  }
  return prefix;
}

/** The inverse of `parsePrefix`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`;
}

/** Returns the prefix with its host bits cleared. */
export function networkOf(prefix: Prefix): Prefix {
  const { family, value } = prefix.address;
  return { address: { family, value: value & ~hostMask(prefix) }, length: prefix.length };
}

/** Returns the address with all host bits set. For an IPv4 network this is the broadcast address. */
export function lastAddress(prefix: Prefix): Address {
  const { family, value } = prefix.address;
  return { family, value: value | hostMask(prefix) };
}

/**
 * Returns the address after the network's own, which is the gateway's address by convention. A prefix of one or two
 * addresses (/31, /32, /127, /128) reserves no network address: for these, returns the first address.
 */
export function firstHost(prefix: Prefix): Address {
  const network = networkOf(prefix).address;
  const hostBits = addressBits(network.family) - prefix.length;
  return hostBits < 2 ? network : { family: network.family, value: network.value + 1n };
}

export function contains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  const hostBits = BigInt(addressBits(address.family) - prefix.length);
  return prefix.address.value >> hostBits === address.value >> hostBits;
}

/** True if the two prefixes have an address in common. One then contains the other. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? contains(a, b.address) : contains(b, a.address);
}

/** True if the addresses, with host bits, and the lengths are equal. */
export function isSamePrefix(a: Prefix, b: Prefix): boolean {
  return a.length === b.length && isSameAddress(a.address, b.address);
}

function hostMask(prefix: Prefix): bigint {
  return (1n << BigInt(addressBits(prefix.address.family) - prefix.length)) - 1n;
}
