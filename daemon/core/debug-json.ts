/** What /debug answers, as JSON: of each controller what it shows, and its state. */
import { setImmediate } from "node:timers/promises";
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../pkg/ip/prefix.ts";

/** Addresses and prefixes as text; bytes in hexadecimal. */
export function toJson(value: unknown): string {
  return `${JSON.stringify(value, (_key, part: unknown) => readable(part), 2)}\n`;
}

/** One text of all pieces. Each is made in a turn of the event loop of its own. */
export async function joinInTurns(pieces: Iterable<string>): Promise<string> {
  let text = "";
  for (const piece of pieces) {
    text += piece;
    await setImmediate();
  }
  return text;
}

function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (value instanceof Map) return Object.fromEntries(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if ("family" in value && "value" in value) return formatAddress(value as Address);
  if ("address" in value && "length" in value && Object.keys(value).length === 2) return formatPrefix(value as Prefix);
  return value;
}
