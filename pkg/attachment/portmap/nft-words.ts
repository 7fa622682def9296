/**
 * Parses conditions in the language of nft(8). The strings are joined; together they form the start of a rule. Pure.
 */
import { parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import { invertSpans, mergeSpans, prefixSpan, type Span } from "../../ip/span.ts";
import { conditionBits, nameSpan, type PortCondition } from "../../tables/port-condition.ts";
import type { Match, Words } from "./conditions.ts";

const TOKEN = /"[^"]*"|[{},]|[!=<>]=?|[^\s{},"!=<>]+|\S/g;
const OPERATORS: Readonly<Record<string, { readonly isInverted: boolean }>> = {
  "==": { isInverted: false },
  eq: { isInverted: false },
  "!=": { isInverted: true },
  ne: { isInverted: true },
};
const SIDES: Readonly<Record<string, keyof PortCondition>> = { saddr: "source", daddr: "destination" };

export function nftMatches(words: Words): Match[] {
  const tokens: string[] = words.list.join(" ").match(TOKEN) ?? [];
  const matches: Match[] = [];
  while (tokens.length > 0) {
    const field = takeField(words, tokens);
    const operator = Object.hasOwn(OPERATORS, tokens[0] ?? "") ? OPERATORS[tokens.shift() ?? ""] : undefined;
    const spans = takeValues(words, tokens).map((value) => spanOf(words, field, value));
    const bits = conditionBits(words.family)[field];
    matches.push({ field, spans: operator?.isInverted === true ? invertSpans(spans, bits) : mergeSpans(spans) });
  }
  return matches;
}

/** Parses "ip saddr", "ip6 daddr", "iifname" or "meta iifname". */
function takeField(words: Words, tokens: string[]): keyof PortCondition {
  const [first = ""] = tokens;
  if (first === "meta") tokens.shift();
  const word = tokens.shift() ?? "";
  if (word === "iifname") return "inputInterface";
  const next = tokens[0] ?? "";
  const side = Object.hasOwn(SIDES, next) ? SIDES[next] : undefined;
  if (first === "meta" || (word !== "ip" && word !== "ip6") || side === undefined) throw words.unsupported(word);
  if (word !== (words.family === 4 ? "ip" : "ip6")) throw words.invalid(`addresses of IPv${words.family}`, word);
  tokens.shift();
  return side;
}

/** Parses one value, or `{ a, b }`. */
function takeValues(words: Words, tokens: string[]): string[] {
  const first = tokens.shift();
  if (first === undefined) throw words.invalid("a value at the end", words.list.join(" "));
  if (first !== "{") return [first];
  const end = tokens.indexOf("}");
  if (end < 0) throw words.invalid("a set that ends with }", words.list.join(" "));
  const inner = tokens.splice(0, end + 1).slice(0, -1);
  if (inner.at(-1) === ",") inner.pop();
  const isList = inner.length > 0 && inner.every((token, at) => (token === ",") === (at % 2 === 1));
  if (!isList) throw words.invalid("a set of values, as in { a, b }", words.list.join(" "));
  return inner.filter((token) => token !== ",");
}

function spanOf(words: Words, field: keyof PortCondition, value: string): Span {
  // Named sets, variables and other expressions that nft evaluates.
  if (/^[@$\\&|<>]/.test(value) || value.includes("\\")) throw words.unsupported(value);
  return field === "inputInterface" ? interfaceSpan(words, value) : sideSpan(words, value);
}

/** "eth*" means all names that begin with "eth". */
function interfaceSpan(words: Words, value: string): Span {
  const text = value.replace(/^"(.*)"$/, "$1");
  const isStart = text.endsWith("*");
  const name = isStart ? text.slice(0, -1) : text;
  try {
    if (text !== "" && !/[{},*"]/.test(name)) return nameSpan(name, isStart);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw words.invalid("the name of an interface", value);
}

/** Parses an address, a network, or a range "a-b". */
function sideSpan(words: Words, value: string): Span {
  const { family } = words;
  try {
    if (value.includes("/")) {
      const prefix = parsePrefix(value);
      if (prefix.address.family === family) return prefixSpan(prefix);
    } else {
      const [from = "", to = from, ...more] = value.split("-");
      const [first, last] = [parseAddress(from), parseAddress(to)];
      const isRange = first.family === family && last.family === family && first.value <= last.value;
      if (isRange && more.length === 0) return { first: first.value, last: last.value };
    }
  } catch {
    // The error is thrown below.
  }
  throw words.invalid(`an IPv${family} address, network or range`, value);
}
