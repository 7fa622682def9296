/**
 * The table `inet weft-services`: a fixed number of sets, maps and rules, and one chain for each number of endpoints
 * (`parts.ts`). A Service consists of elements only. F is 4 or 6; a *row* is `ip daddr . meta l4proto . th dport`.
 *
 *     nat-prerouting, nat-output (dstnat): row in connectionsF (a counter each) -> serviceF
 *       serviceF: row in internal-frontendsF (ClusterIPs without affinity): priority = number of endpoints
 *           -> internalF -> pickF-N
 *         row in externalF: check sources (firewalledF, allowed-sourcesF), masquerade (local-policyF) -> a list
 *       {list}listF: priority = {list}frontendsF: row -> number of endpoints
 *       {list}pickF: {list}picksF: that number -> chain {list}pickF-N
 *           -> dnat to {list}endpointsF: row . random number below N
 *     filter-* (filter): new connections to frontends in unansweredF (and droppedF), cluster-ipsF, service-rangesF
 *     nat-postrouting (srcnat): marked connections, and hairpinF: masquerade
 *
 * The packet's priority is a scratch register: a chained lookup must store the result of the first one, and nft 1.0.6
 * aborts when it lists a rule with two lookups. The rules reset the priority before translation. So only the priority
 * that a local socket has set (SO_PRIORITY) is lost, and only on the first packet of a connection. A verdict map with
 * one element for each Service would be simpler, but the kernel walks all its elements at each change: one changed
 * endpoint takes 3.5 ms with 30,000 Services, and 0.04 ms with data maps (Linux 6.18).
 */
import { DSTNAT_PRIORITY, FILTER_PRIORITY, SERVICES_TABLE, SRCNAT_PRIORITY } from "../../footprint.ts";
import type { Family } from "../../ip/address.ts";
import type { Prefix } from "../../ip/prefix.ts";
import type { Request } from "../../netlink/message.ts";
import { resetPriority, setPriorityByMap } from "../../nft/dynamic-statements.ts";
import {
  counter,
  destinationByMap,
  drop,
  flipMark,
  goto,
  masquerade,
  matchAnyMark,
  matchDestinationInSet,
  matchInSet,
  matchLocalSource,
  matchNew,
  matchPrefix,
  matchTranslatedDestination,
  reject,
  returnToCaller,
  type Statement,
  setMark,
  verdictByMap,
} from "../../nft/expressions.ts";
import { FAMILIES, familyRule } from "../../nft/family-rule.ts";
import { address, packetPriority, randomBelow } from "../../nft/selector.ts";
import {
  addElements,
  addRules,
  addWholeChain,
  type BaseChain,
  type Chain,
  type RegularChain,
  type Rule,
  type Table,
} from "../../nft/table.ts";
import type { NodeSettings } from "../frontend.ts";
import { AFFINITY_CHAINS, affinityChains, renewRules } from "./affinity.ts";
import { hasAffinity, LISTS, type List, type Part, partName } from "./parts.ts";
import { row } from "./rule.ts";
import { ELEMENT_SETS, settingSets, verdictSets } from "./sets.ts";

/** The table for `settings` and `parts`, without frontends. */
export function servicesTable(settings: NodeSettings, parts: readonly Part[]): Table {
  return {
    family: "inet",
    name: SERVICES_TABLE,
    comment: "weft: Services",
    sets: [...settingSets(settings), ...verdictSets(parts), ...ELEMENT_SETS],
    chains: [
      // Parts come before the chains that refer to them: the kernel accepts a rule only if its target chain exists.
      ...parts.map(partChain),
      ...FAMILIES.flatMap((family) => [
        ...affinityChains(family, hasAffinity(parts, family)),
        ...familyChains(family, settings),
      ]),
      ...(FAMILIES.some((family) => hasAffinity(parts, family)) ? AFFINITY_CHAINS : []),
      ...BASE_CHAINS,
      postrouting(settings),
    ],
  };
}

/** Adds the chains of `parts` to a table that has those of `present`. */
export function addParts(table: Table, parts: readonly Part[], present: readonly Part[]): Request[] {
  const isFirst = (family: Family) => hasAffinity(parts, family) && !hasAffinity(present, family);
  return [
    ...parts.flatMap((part) => addWholeChain(table, partChain(part))),
    ...FAMILIES.filter(isFirst).flatMap((family) =>
      affinityChains(family, true).flatMap((chain) => addRules(table, chain)),
    ),
    ...(parts.some(isAffinity) && !present.some(isAffinity)
      ? AFFINITY_CHAINS.flatMap((chain) => addWholeChain(table, chain))
      : []),
  ];
}

const isAffinity = ({ kind }: Part) => kind === "remember";

/** Adds the map elements that lead to those chains. */
export function partElements(table: Table, parts: readonly Part[]): Request[] {
  return verdictSets(parts).flatMap((set) => addElements(table, set));
}

function partChain(part: Part): RegularChain {
  return { name: partName(part), rules: part.kind === "pick" ? pickRules(part) : renewRules(part) };
}

function pickRules({ list, family, number }: Part): Rule[] {
  const slot = [...row(family), randomBelow(number)];
  return [
    familyRule(
      family,
      `one of ${number} endpoints`,
      resetPriority,
      destinationByMap(family, slot, `${list}endpoints${family}`),
    ),
  ];
}

/** For the kernel, a set of ranges is a tree, and a lookup in it costs as much as several comparisons. */
const FEW_RANGES = 4;

const isFew = (ranges: readonly Prefix[]) => ranges.length <= FEW_RANGES && ranges.every(({ length }) => length > 0);

/** A rule for addresses in `ranges`: a lookup in the set that contains them or, for a few ranges, one rule for each. */
function rangeRules(
  family: Family,
  [side, set, ranges]: readonly ["saddr" | "daddr", string, readonly Prefix[]],
  comment: string,
  ...then: readonly Statement[]
): Rule[] {
  const own = ranges.filter((range) => range.address.family === family);
  const matches = isFew(own)
    ? own.map((range) => matchPrefix(side, range))
    : [matchInSet([address(side, family)], `${set}${family}`)];
  return matches.map((match) => familyRule(family, comment, match, ...then));
}

function familyChains(family: Family, settings: NodeSettings): Chain[] {
  const { localPods, masqueradeAll, masqueradeBit } = settings;
  const rule = (comment: string, ...statements: Statement[]) => familyRule(family, comment, ...statements);
  const inSet = (set: string) => matchInSet(row(family), `${set}${family}`);
  const mark = setMark(1 << masqueradeBit);
  const toList = goto(`list${family}`);
  const pick = verdictByMap([packetPriority], `picks${family}`);
  const fromPods = rangeRules(family, ["saddr", "local-pods", localPods], "from pods", toList);
  return [
    {
      name: `service${family}`,
      rules: [
        // This rule is first, because most connections go to ClusterIPs.
        rule("to ClusterIPs", setPriorityByMap(row(family), `internal-frontends${family}`), goto(`internal${family}`)),
        rule("to external frontends", inSet("external"), goto(`external${family}`)),
        ...(masqueradeAll ? [] : fromPods),
        rule("from elsewhere: to be masqueraded", mark, toList),
      ],
    },
    {
      name: `internal${family}`,
      rules: [
        ...(masqueradeAll ? [] : rangeRules(family, ["saddr", "local-pods", localPods], "from pods", pick)),
        rule("from elsewhere: to be masqueraded", mark, pick),
      ],
    },
    {
      name: `external${family}`,
      rules: [
        rule(
          "sources that a Service does not allow",
          inSet("firewalled"),
          matchInSet([...row(family), address("saddr", family)], `allowed-sources${family}`, { invert: true }),
          counter,
          drop,
        ),
        rule("policy Local", inSet("local-policy"), goto(`by-source${family}`)),
        rule("policy Cluster: to be masqueraded", mark),
        rule("to endpoints", toList),
      ],
    },
    {
      name: `by-source${family}`,
      rules: [
        ...fromPods,
        rule("from this node: to be masqueraded", matchLocalSource, mark),
        rule("from this node to all endpoints", matchLocalSource, toList),
        rule("from elsewhere to endpoints on this node", goto(`local-list${family}`)),
      ],
    },
    ...LISTS.flatMap((list) => listChains(list, family)),
    unansweredChain(family),
    ...firstPacketChains(family, settings),
  ];
}

function listRules(list: List, family: Family): Rule[] {
  const size = setPriorityByMap(row(family), `${list}frontends${family}`);
  // The lookup needs a destination register: Linux 6.1 does not support a map lookup without one.
  const id = setPriorityByMap(row(family), `affinity-ids${family}`);
  return [
    familyRule(family, "the number of endpoints", size, goto(`${list}pick${family}`)),
    familyRule(family, "with affinity", id, goto(`${list}sticky${family}`)),
  ];
}

function listChains(list: List, family: Family): Chain[] {
  return [
    { name: `${list}list${family}`, rules: listRules(list, family) },
    {
      name: `${list}pick${family}`,
      rules: [familyRule(family, "one of them", verdictByMap([packetPriority], `${list}picks${family}`))],
    },
  ];
}

const forFamilies = (rules: (family: Family) => Rule[]) => FAMILIES.flatMap(rules);

function natRules(family: Family): Rule[] {
  const isFrontend = matchInSet(row(family), `connections${family}`);
  return [familyRule(family, "connections to frontends", isFrontend, goto(`service${family}`))];
}

function endpointRules(family: Family): Rule[] {
  const isUnanswered = matchInSet(row(family), `unanswered${family}`);
  return [familyRule(family, "frontends without endpoints", isUnanswered, goto(`unanswered${family}`))];
}

function unansweredChain(family: Family): RegularChain {
  const isDropped = matchInSet(row(family), `dropped${family}`);
  return {
    name: `unanswered${family}`,
    rules: [
      familyRule(family, "no endpoint on this node", isDropped, counter, drop),
      familyRule(family, "no endpoint", counter, reject),
    ],
  };
}

function unknownRules(family: Family, { serviceRanges }: NodeSettings): Rule[] {
  const isClusterIp = matchDestinationInSet(family, `cluster-ips${family}`);
  return [
    familyRule(family, "no such port of a ClusterIP", isClusterIp, counter, reject),
    ...rangeRules(family, ["daddr", "service-ranges", serviceRanges], "no such ClusterIP", counter, drop),
  ];
}

/**
 * After translation, most connections to Services need no further lookup, because their endpoint is not an address of a
 * Service. If the ranges of Service addresses are unknown, every destination is looked up.
 */
function translatedRules(family: Family, { serviceRanges }: NodeSettings): Rule[] {
  const own = serviceRanges.filter(({ address }) => address.family === family);
  if (own.length === 0) return [];
  const invert = { invert: true };
  const isNoService = isFew(own)
    ? own.map((range) => matchPrefix("daddr", range, invert))
    : [matchDestinationInSet(family, `service-ranges${family}`, invert)];
  return [familyRule(family, "on the way to endpoints", matchTranslatedDestination, ...isNoService, returnToCaller)];
}

type Base = Pick<BaseChain, "name" | "type" | "hook" | "priority">;
const base = (name: string, type: BaseChain["type"], hook: BaseChain["hook"], priority: number): Base => ({
  ...{ name, type, hook, priority },
});

/** The rules of base chains for the first packets of connections. */
const firstPacketChains = (family: Family, settings: NodeSettings): RegularChain[] => [
  { name: `no-endpoint${family}`, rules: endpointRules(family) },
  {
    name: `no-frontend${family}`,
    rules: [...translatedRules(family, settings), ...endpointRules(family), ...unknownRules(family, settings)],
  },
];

/** Jumps to one chain for each family, so that packets skip the other family's rules. */
const newTo = (comment: string, chain: string): Rule[] =>
  forFamilies((family) => [familyRule(family, comment, matchNew, goto(`${chain}${family}`))]);
/**
 * After translation, a packet whose destination is still a frontend has no endpoint. The same applies to an endpoint
 * that is another Service's frontend, because destinations are translated only once.
 */
const UNANSWERED = newTo("frontends without endpoints", "no-endpoint");
const UNKNOWN = newTo("frontends without endpoints, and what is no frontend", "no-frontend");

const BASE_CHAINS: readonly BaseChain[] = [
  ...(["prerouting", "output"] as const).map((hook) => ({
    ...base(`nat-${hook}`, "nat", hook, DSTNAT_PRIORITY),
    rules: forFamilies(natRules),
  })),
  // NodePorts are addresses of this node; ClusterIPs belong to no host.
  { ...base("filter-input", "filter", "input", FILTER_PRIORITY), rules: UNANSWERED },
  ...(["forward", "output"] as const).map((hook) => ({
    ...base(`filter-${hook}`, "filter", hook, FILTER_PRIORITY),
    rules: UNKNOWN,
  })),
];

/** Clears the mark: an encapsulated packet would inherit it and would be masqueraded a second time. */
function postrouting({ masqueradeBit }: NodeSettings): BaseChain {
  const bit = 1 << masqueradeBit;
  return {
    ...base("nat-postrouting", "nat", "postrouting", SRCNAT_PRIORITY),
    rules: [
      {
        comment: "marked connections",
        statements: [matchAnyMark(bit), flipMark(bit), masquerade({ fullyRandom: true })],
      },
      ...forFamilies((family) => [
        familyRule(
          family,
          "pods that reach themselves by a Service",
          matchTranslatedDestination,
          matchInSet([address("saddr", family), ...row(family)], `hairpin${family}`),
          masquerade({ fullyRandom: true }),
        ),
      ]),
    ],
  };
}
