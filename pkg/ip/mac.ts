/** Ethernet hardware addresses (EUI-48): six bytes, written "aa:bb:cc:dd:ee:ff". */

import { type Address, AddressError, addressFromBytes } from "./address.ts";

/** The three common spellings: with colons, with hyphens, and in three groups of four digits. */
const MAC = /^(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})$/i;

/** Parses a hardware address in any of the three spellings. Throws `AddressError`. */
export function parseMac(text: string): Uint8Array {
  if (!MAC.test(text)) {
    throw new AddressError(`"${text}" is not a MAC address: expected six bytes such as 0a:58:0a:f4:00:02`);
  }
  const bytes = new Uint8Array(6);
  let digits = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x30 || code === 0x3a) continue;
    // "0" is 0x30. The low three bits of the letters a to f, in either case, are 1 to 6.
    const digit = code < 0x3a ? code - 0x30 : (code & 7) + 9;
    bytes[digits >> 1] = ((bytes[digits >> 1] ?? 0) << 4) | digit;
    digits++;
  }
  return bytes;
}

/** Formats in lower case, with colons. Takes any number of bytes: other link types have longer addresses, or none. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += `${text === "" ? "" : ":"}${byte < 16 ? "0" : ""}${byte.toString(16)}`;
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
