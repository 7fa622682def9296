/** Conditions as arguments of iptables(8), one word each. Pure. */
import { addressBits, parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import { invertSpans, mergeSpans, prefixSpan, type Span } from "../../ip/span.ts";
import { conditionBits, nameSpan, type PortCondition } from "../../tables/port-condition.ts";
import type { Match, Words } from "./conditions.ts";

const OPTIONS: Readonly<Record<string, keyof PortCondition>> = {
  "-s": "source",
  "--source": "source",
  "--src": "source",
  "-d": "destination",
  "--destination": "destination",
  "--dst": "destination",
  "-i": "inputInterface",
  "--in-interface": "inputInterface",
};

/** `!` may stand before an option or, as in old releases of iptables, behind it. */
export function iptablesMatches(words: Words): Match[] {
  const matches: Match[] = [];
  const rest = [...words.list];
  while (rest.length > 0) {
    const isInvertedBefore = takeNegation(rest);
    const option = rest.shift() ?? "";
    const field = Object.hasOwn(OPTIONS, option) ? OPTIONS[option] : undefined;
    if (field === undefined) throw words.unsupported(option === "" ? "!" : option);
    if (matches.some((match) => match.field === field)) throw words.invalid(`${option} once`, option);
    const isInverted = takeNegation(rest) || isInvertedBefore;
    const value = rest.shift();
    if (value === undefined) throw words.invalid(`a value behind ${option}`, "nothing");
    matches.push({ field, spans: spansOf(words, field, value, isInverted) });
  }
  return matches;
}

function takeNegation(rest: string[]): boolean {
  if (rest[0] !== "!") return false;
  rest.shift();
  return true;
}

function spansOf(words: Words, field: keyof PortCondition, value: string, isInverted: boolean): readonly Span[] {
  const parts = field === "inputInterface" ? [value] : value.split(",");
  if (isInverted && parts.length > 1) throw words.invalid("one address or network behind !", value);
  const spans = parts.map((part) => (field === "inputInterface" ? interfaceSpan(words, part) : sideSpan(words, part)));
  return isInverted ? invertSpans(spans, conditionBits(words.family)[field]) : mergeSpans(spans);
}

/** "eth+": all names that begin so. */
function interfaceSpan(words: Words, value: string): Span {
  const isStart = value.endsWith("+");
  const name = isStart ? value.slice(0, -1) : value;
  try {
    if (value !== "") return nameSpan(name, isStart);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw words.invalid("the name of an interface", value);
}

/** An address or a network; its mask may be written out, and bytes at its end left out ("10/8"). */
function sideSpan(words: Words, value: string): Span {
  const { family } = words;
  const [host = "", mask = String(addressBits(family)), ...more] = value.split("/");
  const length = /^\d+$/.test(mask) ? Number(mask) : maskLength(words, mask, value);
  const missing = family === 4 && /^\d+(\.\d+){0,3}$/.test(host) ? 4 - host.split(".").length : 0;
  try {
    const prefix = parsePrefix(`${host}${".0".repeat(missing)}/${length}`);
    if (more.length === 0 && prefix.address.family === family) return prefixSpan(prefix);
  } catch {
    // Told below, in the same words.
  }
  throw words.invalid(`an IPv${family} address or network`, value);
}

/** Throws where the bits of the mask are not its first ones: they make no range of addresses. */
function maskLength(words: Words, mask: string, value: string): number {
  const { family } = words;
  let bits: bigint;
  try {
    const address = parseAddress(mask);
    if (address.family !== family) throw words.invalid(`an IPv${family} address or network`, value);
    bits = address.value;
  } catch {
    throw words.invalid(`an IPv${family} address or network`, value);
  }
  const text = bits.toString(2).padStart(addressBits(family), "0");
  if (!/^1*0*$/.test(text)) throw words.unsupported(value);
  return text.replaceAll("0", "").length;
}
