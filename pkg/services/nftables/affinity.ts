/**
 * Session affinity: a client keeps its endpoint while the endpoint is in the list and the client's connections come
 * within the timeout. The state is one map for all Services, `affinityF: client . id of the Service port -> token of
 * the endpoint`, which only rules fill. Another map, `{list}stickyF: row . token`, maps tokens to endpoints. A removed
 * endpoint is not in it, so its entries have no effect at once, and the next connection of the client deletes its
 * entry.
 *
 * Before translation, the rules of `{list}stickyF` look up the entry; without one the connection goes to any endpoint.
 * After translation (`rememberF`, when the packet leaves), the packet's destination is the endpoint: a hash of it is
 * the token, and the rules add or renew the client's entry. If the map is full, nothing is stored, and the connection
 * still works.
 *
 * - A rule that looks up a token and adds an entry with it would save the second lookup, but nft 1.0.6 aborts when it
 *   lists one.
 * - The timeout of an entry is fixed in the rule that renews it, so each timeout has a chain.
 * - `update` renews the timeout and keeps the data, so an entry without effect must be deleted first.
 * - nft 1.0.6 lists the IPv6 rules but aborts when it loads them (data after a key of more than 16 bytes). The chains
 *   of a family therefore have these rules only after it has a Service with affinity.
 */
import { BEFORE_SRCNAT_PRIORITY } from "../../footprint.ts";
import type { Family } from "../../ip/address.ts";
import {
  type DynamicEntry,
  deleteEntry,
  renewEntry,
  resetPriority,
  setPriorityByMap,
} from "../../nft/dynamic-statements.ts";
import {
  destinationByMap,
  goto,
  jump,
  matchProtocol,
  matchTranslatedDestination,
  type Statement,
  verdictByMap,
} from "../../nft/expressions.ts";
import { FAMILIES, familyRule } from "../../nft/family-rule.ts";
import {
  address,
  destinationPort,
  originalDestination,
  originalDestinationPort,
  packetPriority,
  transportProtocol,
} from "../../nft/selector.ts";
import type { BaseChain, RegularChain, Rule } from "../../nft/table.ts";
import { LISTS, type List, type Part } from "./parts.ts";
import { row } from "./rule.ts";
import { TOKEN_HASH } from "./token.ts";

const MS = 1000;
const PROTOCOLS = [6, 17, 132] as const;

/** The packet's priority contains the id. */
const entry = (family: Family): DynamicEntry => ({
  map: `affinity${family}`,
  key: [address("saddr", family), packetPriority],
});

/**
 * Separate base chains that run before all masquerading, because they need the client's address. They exist only if a
 * Service has affinity.
 */
export const AFFINITY_CHAINS: readonly BaseChain[] = (["postrouting", "input"] as const).map((hook) => ({
  ...{ name: `affinity-${hook}`, type: "nat", hook, priority: BEFORE_SRCNAT_PRIORITY },
  rules: FAMILIES.map((family) =>
    familyRule(family, "connections to Services", matchTranslatedDestination, jump(`remember${family}`)),
  ),
}));

/** The chains are empty if no Service of the family has affinity. */
export function affinityChains(family: Family, isUsed: boolean): RegularChain[] {
  return [
    ...LISTS.map((list) => ({ name: `${list}sticky${family}`, rules: isUsed ? stickyRules(list, family) : [] })),
    { name: `remember${family}`, rules: isUsed ? rememberRules(family) : [] },
  ];
}

/** Rules that use the id of the Service port as the packet's priority. */
function stickyRules(list: List, family: Family): Rule[] {
  const rule = (comment: string, ...statements: Statement[]) => familyRule(family, comment, ...statements);
  const { map, key } = entry(family);
  return [
    rule("the client's endpoint", setPriorityByMap(key, map)),
    rule("to it", destinationByMap(family, [...row(family), packetPriority], `${list}sticky${family}`)),
    rule("the Service", setPriorityByMap(row(family), `affinity-ids${family}`)),
    rule("an endpoint that went away is forgotten", deleteEntry(entry(family))),
    rule("to any", setPriorityByMap(row(family), `${list}sizes${family}`), goto(`${list}pick${family}`)),
  ];
}

/** Looks up the row of the connection's original destination in `map`, then continues with `then`. */
function byOriginalRow(family: Family, comment: string, map: string, ...then: Statement[]): Rule[] {
  const original = [originalDestination(family), transportProtocol, originalDestinationPort];
  return PROTOCOLS.map((protocol) =>
    familyRule(family, comment, matchProtocol(protocol), setPriorityByMap(original, `${map}${family}`), ...then),
  );
}

function rememberRules(family: Family): Rule[] {
  return [
    ...byOriginalRow(family, "the time of the Service", "affinity-seconds"),
    familyRule(family, "by the time", verdictByMap([packetPriority], `remembers${family}`)),
  ];
}

/** The rules of the chain for one timeout. */
export function renewRules({ family, number }: Part): Rule[] {
  const endpoint = [address("daddr", family), destinationPort];
  return [
    ...byOriginalRow(family, "the Service", "affinity-ids"),
    familyRule(
      family,
      `the endpoint stays the client's for ${number} seconds`,
      renewEntry(entry(family), number * MS, endpoint, TOKEN_HASH),
    ),
    familyRule(family, "as it was", resetPriority),
  ];
}
