/**
 * IP addresses as a family and a number. The `ip-address` library parses IPv6 text; this file accepts only the subset that
 * CNI configurations may contain. Text is formatted canonically: dotted decimal for IPv4, RFC 5952 for IPv6.
 *
 * The library's class is imported by file. Importing its main entry would load the same code under more names.
 */

import { Address6 } from "ip-address/dist/ipv6.js";

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** The address as an unsigned number of `addressBits(family)` bits, most significant byte first. */
  readonly value: bigint;
}

/** Thrown for text or bytes that are not an address, prefix or hardware address. The message says what was expected. */
export class AddressError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "AddressError";
  }
}

/** The upper 96 bits of an IPv4-mapped IPv6 address, `::ffff:0:0/96` (RFC 4291, section 2.5.5.2). */
const IPV4_MAPPED = 0xffffn;

/** The length of an address in bits: 32 or 128. */
export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/**
 * Parses one address, without prefix length or zone.
 *
 * Refuses IPv4-mapped IPv6 text: otherwise one host would have two spellings, and so two reservations. Throws
 * `AddressError`.
 */
export function parseAddress(text: string): Address {
  if (text.includes("/")) {
    throw new AddressError(`"${text}" is not an IP address: expected an address without a prefix length`);
  }
  if (text.includes("%")) {
    throw new AddressError(`"${text}" is not an IP address: expected an address without a zone ("%…")`);
  }
  return text.includes(":") ? parseAddress6(text) : parseAddress4(text);
}

/** Four decimal numbers without leading zeros. */
const IPV4 = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;

function parseAddress4(text: string): Address {
  const octets = IPV4.exec(text);
  let value = 0;
  for (let at = 1; octets !== null && at <= 4; at++) {
    const octet = Number(octets[at]);
    value = octet > 255 ? Number.NaN : value * 256 + octet;
  }
  if (octets === null || Number.isNaN(value)) {
    throw new AddressError(
      `"${text}" is not an IP address: expected an IPv4 address such as 10.244.0.1 (four numbers from 0 to 255 ` +
        "without leading zeros) or an IPv6 address such as fd00::1",
    );
  }
  return { family: 4, value: BigInt(value) };
}

function parseAddress6(text: string): Address {
  let value: bigint;
  try {
    value = new Address6(text).bigInt();
  } catch {
    throw new AddressError(`"${text}" is not an IP address: expected an IPv6 address such as fd00::1`);
  }
  if (value >> 32n === IPV4_MAPPED) {
    const plain = formatAddress({ family: 4, value: value & 0xffffffffn });
    throw new AddressError(`"${text}" is an IPv4-mapped IPv6 address: expected ${plain}`);
  }
  return { family: 6, value };
}

/** Returns the canonical text: the inverse of `parseAddress`. */
export function formatAddress(address: Address): string {
  return address.family === 4 ? formatAddress4(Number(address.value)) : formatAddress6(address.value);
}

function formatAddress4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/**
 * Formats by RFC 5952, section 4: lower case, no leading zeros, "::" for the first longest run of two or more zero
 * groups.
 */
function formatAddress6(value: bigint): string {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn));
  const run = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (run.length < 2) return hex.join(":");
  return `${hex.slice(0, run.start).join(":")}::${hex.slice(run.start + run.length).join(":")}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  }
  return best;
}

/** Returns 4 or 16 bytes in network byte order. */
export function addressToBytes(address: Address): Uint8Array {
  if (address.family === 4) {
    const value = Number(address.value);
    return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  }
  const bytes = new Uint8Array(16);
  let rest = address.value;
  for (let index = bytes.length - 1; index >= 0; index--) {
    bytes[index] = Number(rest & 255n);
    rest >>= 8n;
  }
  return bytes;
}

/** The inverse of `addressToBytes`. Throws `AddressError` if there are not 4 or 16 bytes. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw new AddressError(`${bytes.length} bytes are not an IP address: expected 4 or 16`);
  }
  if (bytes.length === 4) {
    let number = 0;
    for (let at = 0; at < 4; at++) number = number * 256 + (bytes[at] as number);
    return { family: 4, value: BigInt(number) };
  }
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: 6, value };
}

export function isSameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.value === b.value;
}

/** Returns a key for maps and sets. Equal addresses have equal keys. Cheaper than `formatAddress`. */
export function addressKey({ family, value }: Address): string {
  return `${family} ${value}`;
}

/** Returns the address of an `addressKey`. */
export function addressOfKey(key: string): Address {
  return { family: key.startsWith("4 ") ? 4 : 6, value: BigInt(key.slice(2)) };
}

/** Compares for sorting: IPv4 before IPv6, then by number. */
export function compareAddresses(a: Address, b: Address): -1 | 0 | 1 {
  if (a.family !== b.family) return a.family < b.family ? -1 : 1;
  if (a.value === b.value) return 0;
  return a.value < b.value ? -1 : 1;
}
