/** Hardware addresses of Ethernet (EUI-48): six bytes, written "aa:bb:cc:dd:ee:ff". */

import { AddressError } from "./address.ts";

/** The three spellings in use: with colons, with hyphens, and in three groups of four digits. */
const MAC = /^(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})$/i;

/** Throws `AddressError`. */
export function parseMac(text: string): Uint8Array {
  if (!MAC.test(text)) {
    throw new AddressError(`"${text}" is not a MAC address: expected six bytes such as 0a:58:0a:f4:00:02`);
  }
  const digits = text.replace(/[:.-]/g, "");
  const bytes = new Uint8Array(6);
  for (let index = 0; index < 6; index++) bytes[index] = Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16);
  return bytes;
}

/** Lower case, with colons. Takes any number of bytes, since other link types have longer or no addresses. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += `${text === "" ? "" : ":"}${byte < 16 ? "0" : ""}${byte.toString(16)}`;
  return text;
}
