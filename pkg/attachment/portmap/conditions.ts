/**
 * `conditionsV4` and `conditionsV6`: which connections ports are mapped for, in the words of a rule, iptables' or nft's as the
 * reference plugin tells them apart. Pure.
 */
import type { ConfigObject } from "../../cni/config.ts";
import { CniError, ErrorCode } from "../../cni/errors.ts";
import type { Family } from "../../ip/address.ts";
import { commonSpans, type Span, wholeSpan } from "../../ip/span.ts";
import { conditionBits, type PortCondition } from "../../tables/port-condition.ts";
import { iptablesMatches } from "./iptables-words.ts";
import { nftMatches } from "./nft-words.ts";

export type Language = "iptables" | "nftables";

export interface Conditions {
  readonly key: string;
  readonly language: Language;
  /** No two overlap; none where the words exclude each other. */
  readonly conditions: readonly PortCondition[];
}

/** What a word of a rule asks of a connection: that its `field` is within one of `spans`. */
export interface Match {
  readonly field: keyof PortCondition;
  readonly spans: readonly Span[];
}

/** The words, and how to refuse one of them. */
export interface Words {
  readonly list: readonly string[];
  readonly family: Family;
  /** A value that is wrong. */
  invalid(expected: string, got: string): CniError;
  /** A word that the reference plugin would hand on, and that no element of the map can express. */
  unsupported(word: string): CniError;
}

/** `undefined` where the key is absent, or says nothing. */
export function parseConditions(object: ConfigObject, key: string, family: Family): Conditions | undefined {
  const list = object.stringList(key);
  const [first = ""] = list;
  if (first === "") return undefined;
  const language = /^[-!]/.test(first) ? "iptables" : "nftables";
  const path = object.pathOf(key);
  const words: Words = {
    ...{ list, family },
    invalid: (expected, got) =>
      new CniError(ErrorCode.invalidConfig, `${path}: expected ${expected}, got ${JSON.stringify(got)}`),
    unsupported: (word) => new CniError(ErrorCode.unsupportedField, unsupportedText(path, list, word, family)),
  };
  const matches = language === "iptables" ? iptablesMatches(words) : nftMatches(words);
  return { key, language, conditions: conditionsOf(matches, family) };
}

function unsupportedText(path: string, list: readonly string[], word: string, family: Family): string {
  const ip = family === 4 ? "ip" : "ip6";
  return (
    `${path}: ${JSON.stringify(list)}: ${JSON.stringify(word)} is not supported; use [!] -s, -d and -i of iptables, or ` +
    `${ip} saddr, ${ip} daddr and iifname of nft`
  );
}

function conditionsOf(matches: readonly Match[], family: Family): PortCondition[] {
  const bits = conditionBits(family);
  const spansOf = (field: keyof PortCondition) =>
    matches
      .filter((match) => match.field === field)
      .reduce<readonly Span[]>((spans, match) => commonSpans(spans, match.spans), [wholeSpan(bits[field])]);
  const [sources, destinations, interfaces] = [spansOf("source"), spansOf("destination"), spansOf("inputInterface")];
  return sources.flatMap((source) =>
    destinations.flatMap((destination) =>
      interfaces.map((inputInterface) => ({ source, destination, inputInterface })),
    ),
  );
}
