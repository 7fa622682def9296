/**
 * The table `inet weft-policy`: two base chains with a fixed number of rules, and chains and sets for profiles and
 * groups of peers. F is 4 or 6.
 *
 *     forward   established connections and neighbour discovery return;
 *               source in outF, or destination in inF: priority = number of the profile, jump to profiles
 *     input     the same without inF: connections of pods to the node itself
 *     profiles  (chain) ports: profile . protocol . port -> chain of a decision; profiles: profile -> its first chain
 *     peersF    address of a pod of the cluster -> identity
 *     pods-G    identities of a group              blocks-G-F   ranges of addresses of a group
 *     selfF     pairs of the same address of a pod of this node
 *     ranges-N  protocol . range of ports -> chain of a profile (`profile-chains.ts`)
 *
 * Connections from this node to its own pods do not pass `forward` or `input`: they are always allowed. outF and inF
 * contain numbers and no chains, so an ADD does not make the kernel follow the jumps of the table.
 */
import { POLICY_PRIORITY, POLICY_TABLE } from "../../footprint.ts";
import type { Family } from "../../ip/address.ts";
import { setPriorityByMap } from "../../nft/dynamic-statements.ts";
import { jump, matchEstablished, returnToCaller, verdictByMap } from "../../nft/expressions.ts";
import { FAMILIES, familyRule } from "../../nft/family-rule.ts";
import { matchNeighbourDiscovery } from "../../nft/protocol-matches.ts";
import { address, destinationPort, packetPriority, transportProtocol } from "../../nft/selector.ts";
import type { NftSet, SpanSet, TupleSet } from "../../nft/set.ts";
import type { BaseChain, RegularChain, Rule, Table } from "../../nft/table.ts";
import type { PolicySettings } from "../program.ts";
import type { BlockGroup, Direction } from "../state.ts";
import type { PolicyTables } from "../tables.ts";
import { blocksSet, PORTS_MAP, PROFILES_CHAIN, PROFILES_MAP, peerMap, podsSet, selfSet, subjectMap } from "./names.ts";
import { profileChains, profileRanges } from "./profile-chains.ts";

/**
 * The maximum number of addresses of this node's pods, by family, and of their profiles. More than any node has; the
 * kernel's hash tables take half a MiB each.
 */
const LARGEST_NODE = 1 << 15;

/**
 * The table for `tables`. The elements of `pods-G` and of the sets in `BASE` are not part of it (`elements.ts`), because
 * there are many of them, and they change.
 */
export function policyTable(tables: PolicyTables, settings: PolicySettings): Table {
  const profiles = [...tables.profiles].map(([number, profile]) => ({ number, profile }));
  return {
    ...BASE,
    sets: [
      ...BASE.sets,
      ...[...tables.pods.keys()].map(podsSetOf),
      ...[...tables.blocks].flatMap(([number, group]) => blockSets(number, group)),
      ...profiles.flatMap((profile) => profileRanges(profile) ?? []),
    ],
    chains: [...profiles.flatMap((profile) => profileChains(profile, settings)), ...BASE.chains],
  };
}

/** The set of a pod group, without its elements. */
export function podsSetOf(number: number): TupleSet {
  return { kind: "tuples", name: podsSet(number), comment: "identities of pods", fields: ["classid"], elements: [] };
}

export function blockSets(number: number, group: BlockGroup): SpanSet[] {
  return FAMILIES.map((family) => ({
    ...{ kind: "spans", family, name: blocksSet(number, family), comment: "ranges of addresses" },
    elements: group[family],
  }));
}

const addressField = (family: Family) => `ipv${family}_addr` as const;

const tuples = (name: string, comment: string, rest: Pick<TupleSet, "fields"> & Partial<TupleSet>): TupleSet => ({
  ...{ kind: "tuples", name, comment, elements: [] },
  ...rest,
});

function fixedSets(family: Family): NftSet[] {
  const field = addressField(family);
  const profile = { fields: [field], data: ["classid"], size: LARGEST_NODE } as const;
  return [
    tuples(subjectMap("egress", family), "pods of this node: what they may reach", profile),
    tuples(subjectMap("ingress", family), "pods of this node: what may reach them", profile),
    tuples(selfSet(family), "pods of this node, to themselves", { fields: [field, field] }),
    tuples(peerMap(family), "pods: identity", { fields: [field], data: ["classid"] }),
  ];
}

const PROFILE_MAPS: readonly NftSet[] = [
  tuples(PROFILES_MAP, "profiles", { fields: ["classid"], data: "verdict", size: 2 * LARGEST_NODE }),
  tuples(PORTS_MAP, "ports of profiles", { fields: ["classid", "inet_proto", "inet_service"], data: "verdict" }),
];

const PROFILES: RegularChain = {
  name: PROFILES_CHAIN,
  rules: [
    {
      comment: "single ports",
      statements: [verdictByMap([packetPriority, transportProtocol, destinationPort], PORTS_MAP)],
    },
    { comment: "other ports and protocols", statements: [verdictByMap([packetPriority], PROFILES_MAP)] },
  ],
};

const PASSING: readonly Rule[] = [
  { comment: "established connections", statements: [matchEstablished, returnToCaller] },
  { comment: "neighbour discovery", statements: [matchNeighbourDiscovery, returnToCaller] },
];

const judged = (comment: string, side: "saddr" | "daddr", direction: Direction): Rule[] =>
  FAMILIES.map((family) =>
    familyRule(
      family,
      comment,
      setPriorityByMap([address(side, family)], subjectMap(direction, family)),
      jump(PROFILES_CHAIN),
    ),
  );
const FROM_PODS = judged("from pods of this node", "saddr", "egress");
const TO_PODS = judged("to pods of this node", "daddr", "ingress");

const base = (hook: "forward" | "input", rules: readonly Rule[]): BaseChain => ({
  ...{ name: hook, type: "filter", hook, priority: POLICY_PRIORITY, rules },
});

/** The parts of the table that do not depend on policies. */
export const BASE: Table = {
  family: "inet",
  name: POLICY_TABLE,
  comment: "weft: NetworkPolicies",
  sets: [...FAMILIES.flatMap(fixedSets), ...PROFILE_MAPS],
  chains: [
    PROFILES,
    base("forward", [...PASSING, ...FROM_PODS, ...TO_PODS]),
    base("input", [...PASSING, ...FROM_PODS]),
  ],
};
