/**
 * `conditionsV4` and `conditionsV6`: the connections for which ports are mapped. The conditions are in the syntax of
 * iptables or of nft, distinguished as in the reference plugin. Pure.
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
  /** No two conditions overlap. Empty if the words exclude each other. */
  readonly conditions: readonly PortCondition[];
}

/** A requirement on a connection: the value of `field` must be within one of `spans`. */
export interface Match {
  readonly field: keyof PortCondition;
  readonly spans: readonly Span[];
}

/** The words of a condition, and the errors for them. */
export interface Words {
  readonly list: readonly string[];
  readonly family: Family;
  /** The error for an invalid value. */
  invalid(expected: string, got: string): CniError;
  /** The error for a word that the reference plugin would pass on, but that no element of the map can express. */
  unsupported(word: string): CniError;
}

/** Returns undefined if the key is absent or its first word is empty. */
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
    `${path}: ${JSON.stringify(list)}: ${JSON.stringify(word)} is not supported: use [!] -s, -d and -i of iptables, ` +
    `or ${ip} saddr, ${ip} daddr and iifname of nft`
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
