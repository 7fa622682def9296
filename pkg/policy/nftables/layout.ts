/**
 * The table `inet weft-policy`: two base chains with a fixed number of rules, and chains and sets for profiles and
 * groups of peers. F is 4 or 6.
 *
 *     forward   established connections and neighbour discovery return;
 *               source in outF: jump to the pod's profile out-N; destination in inF: jump to in-N
 *     input     the same without inF: connections of pods to the node itself
 *     peersF    address of a pod of the cluster -> identity
 *     pods-G    identities of a group              blocks-G-F   ranges of addresses of a group
 *     selfF     pairs of the same address of a pod of this node
 *     ports-N   protocol . port -> chain of a profile (`profile-chains.ts`)
 *
 * Connections from this node to its own pods do not pass `forward` or `input`: they are always allowed. The verdict maps
 * outF and inF contain only pods of this node, because the kernel walks all their elements at each change.
 */
import { POLICY_PRIORITY, POLICY_TABLE } from "../../footprint.ts";
import type { Family } from "../../ip/address.ts";
import { matchEstablished, returnToCaller, verdictByMap } from "../../nft/expressions.ts";
import { FAMILIES, familyRule } from "../../nft/family-rule.ts";
import { matchNeighbourDiscovery } from "../../nft/protocol-matches.ts";
import { address } from "../../nft/selector.ts";
import type { NftSet, SpanSet, TupleSet } from "../../nft/set.ts";
import type { BaseChain, Rule, Table } from "../../nft/table.ts";
import type { PolicySettings } from "../program.ts";
import type { BlockGroup, Direction } from "../state.ts";
import type { PolicyTables } from "../tables.ts";
import { blocksSet, peerMap, podsSet, selfSet, subjectMap } from "./names.ts";
import { profileChains, profilePorts } from "./profile-chains.ts";

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
      ...profiles.flatMap((profile) => profilePorts(profile) ?? []),
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

function fixedSets(family: Family): NftSet[] {
  const field = addressField(family);
  const tuples = (name: string, comment: string, rest: Partial<TupleSet>): TupleSet => ({
    ...{ kind: "tuples", name, comment, fields: [field], elements: [] },
    ...rest,
  });
  return [
    tuples(subjectMap("egress", family), "pods of this node: what they may reach", { data: "verdict" }),
    tuples(subjectMap("ingress", family), "pods of this node: what may reach them", { data: "verdict" }),
    tuples(selfSet(family), "pods of this node, to themselves", { fields: [field, field] }),
    tuples(peerMap(family), "pods: identity", { data: ["classid"] }),
  ];
}

const PASSING: readonly Rule[] = [
  { comment: "established connections", statements: [matchEstablished, returnToCaller] },
  { comment: "neighbour discovery", statements: [matchNeighbourDiscovery, returnToCaller] },
];

const judged = (comment: string, side: "saddr" | "daddr", direction: Direction): Rule[] =>
  FAMILIES.map((family) =>
    familyRule(family, comment, verdictByMap([address(side, family)], subjectMap(direction, family))),
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
  sets: FAMILIES.flatMap(fixedSets),
  chains: [base("forward", [...PASSING, ...FROM_PODS, ...TO_PODS]), base("input", [...PASSING, ...FROM_PODS])],
};
