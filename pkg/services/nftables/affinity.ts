/**
 * Affinity to clients: who had an endpoint keeps it, as long as the endpoint is in the list and connections come within the
 * time. The state is one map for all Services, `affinityF: client . id of the Service port -> token of the endpoint`, which
 * rules alone fill. Tokens lead to endpoints by another map, `{list}stickyF: row . token`: what is not there is no endpoint
 * any more, so that an entry of one that went away means nothing at once, and is dropped when its client comes.
 *
 * Before translation (`{list}stickyF`) the entry is looked up; where there is none the connection goes to any endpoint. After
 * it (`rememberF`, on the way out) packets have the endpoint as their destination: a hash of it is the token, and the client's
 * entry is made or renewed. Where the map is full nothing is remembered, and the connection is as good as any other.
 *
 * - A rule that looks up a token and adds an entry with it would save the second look; nft 1.0.6 aborts when it lists one.
 * - The time of an entry is fixed in the rule that renews it: each time has a chain of its own.
 * - `update` renews the time and leaves the data as it is: an entry that means nothing has to be deleted first.
 * - nft 1.0.6 lists the rules of IPv6, and aborts when it is to load them (data beside a key of more than 16 bytes), so chains
 *   of a family have these rules only once it has a Service with affinity.
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
import { FAMILIES, familyRule, row } from "./rule.ts";
import { TOKEN_HASH } from "./token.ts";

const MS = 1000;
const PROTOCOLS = [6, 17, 132] as const;

/** The packet's priority holds the id. */
const entry = (family: Family): DynamicEntry => ({
  map: `affinity${family}`,
  key: [address("saddr", family), packetPriority],
});

/**
 * Base chains of their own, before all that masquerade: the client's address has to be there still. They exist only once a
 * Service has affinity.
 */
export const AFFINITY_CHAINS: readonly BaseChain[] = (["postrouting", "input"] as const).map((hook) => ({
  ...{ name: `affinity-${hook}`, type: "nat", hook, priority: BEFORE_SRCNAT_PRIORITY },
  rules: FAMILIES.map((family) =>
    familyRule(family, "connections to Services", matchTranslatedDestination, jump(`remember${family}`)),
  ),
}));

/** They are empty where no Service of the family has affinity. */
export function affinityChains(family: Family, isUsed: boolean): RegularChain[] {
  return [
    ...LISTS.map((list) => ({ name: `${list}sticky${family}`, rules: isUsed ? stickyRules(list, family) : [] })),
    { name: `remember${family}`, rules: isUsed ? rememberRules(family) : [] },
  ];
}

/** With the id of the Service port as the packet's priority. */
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

/** The row by which the connection came, in front of what it is looked up for. */
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

/** The rules of a time's chain. */
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
