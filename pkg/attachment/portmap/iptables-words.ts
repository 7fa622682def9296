/** Parses conditions written as arguments of iptables(8), one word each. Pure. */
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

/** `!` may precede an option or, as in old releases of iptables, follow it. */
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
    if (value === undefined) throw words.invalid(`a value after ${option}`, "nothing");
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
  if (isInverted && parts.length > 1) throw words.invalid("one address or network after !", value);
  const spans = parts.map((part) => (field === "inputInterface" ? interfaceSpan(words, part) : sideSpan(words, part)));
  return isInverted ? invertSpans(spans, conditionBits(words.family)[field]) : mergeSpans(spans);
}

/** "eth+" means all names that begin with "eth". */
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

/**
 * Parses an address or a network. The mask may be written as an address, and trailing bytes may be omitted ("10/8").
 */
function sideSpan(words: Words, value: string): Span {
  const { family } = words;
  const [host = "", mask = String(addressBits(family)), ...more] = value.split("/");
  const length = /^\d+$/.test(mask) ? Number(mask) : maskLength(words, mask, value);
  const missing = family === 4 && /^\d+(\.\d+){0,3}$/.test(host) ? 4 - host.split(".").length : 0;
  try {
    const prefix = parsePrefix(`${host}${".0".repeat(missing)}/${length}`);
    if (more.length === 0 && prefix.address.family === family) return prefixSpan(prefix);
  } catch {
    // The error is thrown below.
  }
  throw words.invalid(`an IPv${family} address or network`, value);
}

/** Throws if the bits of the mask are not contiguous from the first bit: such a mask is not a range of addresses. */
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
