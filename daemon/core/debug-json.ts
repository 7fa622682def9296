/** Formats the answers of /debug as JSON. */
import { setImmediate } from "node:timers/promises";
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../pkg/ip/prefix.ts";

/** Returns `value` as indented JSON, with addresses and prefixes as text and bytes in hexadecimal. */
export function toJson(value: unknown): string {
  return `${JSON.stringify(value, (_key, part: unknown) => readable(part), 2)}\n`;
}

/** Joins all pieces into one text. Each piece is made in a separate turn of the event loop. */
export async function joinInTurns(pieces: Iterable<string> | AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) {
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
