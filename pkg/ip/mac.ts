/** Ethernet hardware addresses (EUI-48): six bytes, written "aa:bb:cc:dd:ee:ff". */

import { type Address, AddressError, addressFromBytes } from "./address.ts";

/** The three common spellings: with colons, with hyphens, and in three groups of four digits. */
const MAC = /^(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})$/i;

/** Where the bytes begin in the spellings with a separator after each byte, and after two bytes. */
const COLON_STARTS = [0, 3, 6, 9, 12, 15];
const DOT_STARTS = [0, 2, 5, 7, 10, 12];

/** Each byte as two hexadecimal digits. */
const HEXADECIMAL = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Parses a hardware address in any of the three spellings. Throws `AddressError`. */
export function parseMac(text: string): Uint8Array {
  if (!MAC.test(text)) {
    throw new AddressError(`"${text}" is not a MAC address: expected six bytes such as 0a:58:0a:f4:00:02`);
  }
  const starts = text.length === 17 ? COLON_STARTS : DOT_STARTS;
  const bytes = new Uint8Array(6);
  for (let at = 0; at < 6; at++) {
    const start = starts[at] as number;
    bytes[at] = Number.parseInt(text.slice(start, start + 2), 16);
  }
  return bytes;
}

/** Formats in lower case, with colons. Takes any number of bytes: other link types have longer addresses, or none. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at++) text += `${at === 0 ? "" : ":"}${HEXADECIMAL[bytes[at] as number]}`;
  return text;
}

/**
 * The link-local address that the kernel gives an interface with this hardware address, by default: fe80::/64 and the
 * modified EUI-64 (RFC 4291 appendix A). Throws `AddressError`.
 */
export function linkLocalOf(mac: string): Address {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = parseMac(mac);
  const interfaceId = [a ^ 0x02, b, c, 0xff, 0xfe, d, e, f];
  return addressFromBytes(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...interfaceId));
}
