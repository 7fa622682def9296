/**
 * The table `inet weft-services`: a fixed number of sets, maps and rules, and a chain for each number of endpoints
 * (`parts.ts`). A Service is nothing but elements. F is 4 or 6; a *row* is `ip daddr . meta l4proto . th dport`.
 *
 *     nat-prerouting, nat-output (dstnat): row in connectionsF (a counter each) -> serviceF
 *       serviceF: to be masqueraded? By the source or, of rows in externalF, by local-policyF -> a list of endpoints
 *       {list}listF: priority = {list}frontendsF: row -> number of endpoints
 *       {list}pickF: {list}picksF: that number -> chain {list}pickF-N: dnat to {list}endpointsF: row . random number below N
 *     sources-* (before dstnat): rows in firewalledF, sources not in allowed-sourcesF: drop
 *     filter-* (filter): new connections to frontends in unansweredF (and droppedF), cluster-ipsF, service-rangesF
 *     nat-postrouting (srcnat): marked connections, and hairpinF: masquerade
 *
 * Priority is a scratch register: two lookups in a row need a place for what the first one found, and nft 1.0.6 aborts when it
 * lists a rule with two of them. It is set back before translation, so only the priority that a
 * local socket asked for (SO_PRIORITY) is lost, and only on the first packet of a connection. A map of verdicts that has an element for each Service would be simpler, but the kernel walks
 * all its elements at each change: 3.5 ms at 30,000 Services for one endpoint, where data maps take 0.04 ms (Linux 6.18).
 */
import {
  BEFORE_DSTNAT_PRIORITY,
  DSTNAT_PRIORITY,
  FILTER_PRIORITY,
  SERVICES_TABLE,
  SRCNAT_PRIORITY,
} from "../../footprint.ts";
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
  jump,
  masquerade,
  matchAnyMark,
  matchDestinationInSet,
  matchInSet,
  matchLocalSource,
  matchNew,
  matchPrefix,
  matchTranslatedDestination,
  reject,
  type Statement,
  setMark,
  verdictByMap,
} from "../../nft/expressions.ts";
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
import { FAMILIES, familyRule, row } from "./rule.ts";
import { ELEMENT_SETS, settingSets, verdictSets } from "./sets.ts";

/** The table with what `settings` and `parts` say, without frontends. */
export function servicesTable(settings: NodeSettings, parts: readonly Part[]): Table {
  return {
    family: "inet",
    name: SERVICES_TABLE,
    comment: "weft: Services",
    sets: [...settingSets(settings), ...verdictSets(parts), ...ELEMENT_SETS],
    chains: [
      // Before those that lead to them: the kernel takes a rule only where the chain that it goes to exists.
      ...parts.map(partChain),
      ...FAMILIES.flatMap((family) => [
        ...affinityChains(family, hasAffinity(parts, family)),
        ...familyChains(family, settings),
      ]),
      ...(FAMILIES.some((family) => hasAffinity(parts, family)) ? AFFINITY_CHAINS : []),
      ...commonChains(settings),
      ...BASE_CHAINS,
      postrouting(settings),
    ],
  };
}

/** The chains of `parts` in a table that has those of `present`. */
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

/** The elements that lead to those chains. */
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

/** A set of ranges is a tree to the kernel, and a look at it takes as long as some of these comparisons. */
const FEW_RANGES = 4;

/** A rule for addresses in `ranges`, which the set holds, too, or one for each range where there are few. */
function rangeRules(
  family: Family,
  [side, set, ranges]: readonly ["saddr" | "daddr", string, readonly Prefix[]],
  comment: string,
  ...then: readonly Statement[]
): Rule[] {
  const own = ranges.filter((range) => range.address.family === family);
  const isFew = own.length <= FEW_RANGES && own.every(({ length }) => length > 0);
  const matches = isFew
    ? own.map((range) => matchPrefix(side, range))
    : [matchInSet([address(side, family)], `${set}${family}`)];
  return matches.map((match) => familyRule(family, comment, match, ...then));
}

function familyChains(family: Family, { localPods, masqueradeAll, masqueradeBit }: NodeSettings): Chain[] {
  const rule = (comment: string, ...statements: Statement[]) => familyRule(family, comment, ...statements);
  const inSet = (set: string) => matchInSet(row(family), `${set}${family}`);
  const mark = setMark(1 << masqueradeBit);
  const toList = goto(`list${family}`);
  const fromPods = rangeRules(family, ["saddr", "local-pods", localPods], "from pods", toList);
  return [
    {
      name: `service${family}`,
      rules: [
        rule("to external frontends", inSet("external"), goto(`external${family}`)),
        ...(masqueradeAll ? [] : fromPods),
        rule("from elsewhere: to be masqueraded", mark),
        // Not by another chain: this is the way of most connections.
        ...listRules("", family),
      ],
    },
    {
      name: `external${family}`,
      rules: [
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
  ];
}

function listRules(list: List, family: Family): Rule[] {
  const size = setPriorityByMap(row(family), `${list}frontends${family}`);
  // A register for what is found is needed: Linux 6.1 refuses to ask a map no more than whether it has a key.
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

function sourceRules(family: Family): Rule[] {
  return [
    familyRule(
      family,
      "sources that a Service does not allow",
      matchInSet(row(family), `firewalled${family}`),
      matchInSet([...row(family), address("saddr", family)], `allowed-sources${family}`, { invert: true }),
      counter,
      drop,
    ),
  ];
}

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

type Base = Pick<BaseChain, "name" | "type" | "hook" | "priority">;
const base = (name: string, type: BaseChain["type"], hook: BaseChain["hook"], priority: number): Base => ({
  ...{ name, type, hook, priority },
});

/** What base chains ask of the first packets of connections. */
const commonChains = (settings: NodeSettings): RegularChain[] => [
  { name: "sources", rules: forFamilies(sourceRules) },
  { name: "no-endpoint", rules: forFamilies(endpointRules) },
  {
    name: "no-frontend",
    rules: forFamilies((family) => [...endpointRules(family), ...unknownRules(family, settings)]),
  },
];

const newTo = (comment: string, chain: string): Rule => ({ comment, statements: [matchNew, jump(chain)] });
/**
 * After translation: what still has a frontend as its destination has no endpoint. So has an endpoint that is another Service's
 * frontend: nothing is translated twice.
 */
const UNANSWERED = newTo("frontends without endpoints", "no-endpoint");
const UNKNOWN = newTo("frontends without endpoints, and what is no frontend", "no-frontend");

const BASE_CHAINS: readonly BaseChain[] = [
  ...(["prerouting", "output"] as const).flatMap((hook): BaseChain[] => [
    { ...base(`sources-${hook}`, "filter", hook, BEFORE_DSTNAT_PRIORITY), rules: [newTo("who may come", "sources")] },
    { ...base(`nat-${hook}`, "nat", hook, DSTNAT_PRIORITY), rules: forFamilies(natRules) },
  ]),
  // NodePorts are addresses of this node; ClusterIPs are nowhere.
  { ...base("filter-input", "filter", "input", FILTER_PRIORITY), rules: [UNANSWERED] },
  ...(["forward", "output"] as const).map((hook) => ({
    ...base(`filter-${hook}`, "filter", hook, FILTER_PRIORITY),
    rules: [UNKNOWN],
  })),
];

/** The mark is taken back: what encapsulates a packet inherits it, and would be masqueraded a second time. */
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
