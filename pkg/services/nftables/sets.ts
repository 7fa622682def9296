/** The sets and maps of `table inet weft-services`. */
import type { Family } from "../../ip/address.ts";
import { FAMILIES } from "../../nft/family-rule.ts";
import type { PrefixSet, TupleSet } from "../../nft/set.ts";
import type { Field } from "../../nft/tuple.ts";
import type { NodeSettings } from "../frontend.ts";
import { LISTS, type List, type Part, partName } from "./parts.ts";

const addressType = (family: Family) => `ipv${family}_addr` as const;
const rowFields = (family: Family): readonly Field[] => [addressType(family), "inet_proto", "inet_service"];

/** The sets with the ranges of the node's settings. */
export function settingSets({ localPods, serviceRanges }: NodeSettings): PrefixSet[] {
  return FAMILIES.flatMap((family) => {
    const set = (name: string, comment: string, elements: NodeSettings["localPods"]): PrefixSet => ({
      ...{ kind: "prefixes", family, name: `${name}${family}`, comment },
      elements: elements.filter(({ address }) => address.family === family),
    });
    return [
      set("local-pods", "pods of this node", localPods),
      set("service-ranges", "addresses of Services", serviceRanges),
    ];
  });
}

/** The maps from numbers to the chains of `parts`. */
export function verdictSets(parts: readonly Part[]): TupleSet[] {
  return FAMILIES.flatMap((family) => {
    const map = (kind: Part["kind"], list: List, comment: string): TupleSet => ({
      ...{ kind: "tuples", name: `${list}${kind}s${family}`, comment, fields: ["classid"], data: "verdict" },
      elements: parts
        .filter((part) => part.kind === kind && part.list === list && part.family === family)
        .map((part) => ({ values: [part.number], data: { goto: partName(part) } })),
    });
    return [
      ...LISTS.map((list) => map("pick", list, "by number of endpoints: one of them")),
      map("remember", "", "by seconds of affinity: the client's endpoint is kept"),
    ];
  });
}

/**
 * The default timeout, which is the longest that a Service may request (86,400 s). Rules set the timeout of each
 * element.
 */
const AFFINITY_TIMEOUT_MS = 86_400_000;
/**
 * The maximum number of stored clients, for all Services together. The kernel needs about 130 bytes for each: 32 MiB at
 * most. Beyond it, each connection of a new client goes to a randomly chosen endpoint.
 */
const AFFINITY_SIZE = 262_144;

const plain = (name: string, family: Family, comment: string, rest: Partial<TupleSet> = {}): TupleSet => ({
  ...{ kind: "tuples", name: `${name}${family}`, comment, fields: rowFields(family), elements: [] },
  ...rest,
});

function affinitySet(family: Family): TupleSet {
  return plain("affinity", family, "endpoints of clients", {
    fields: [addressType(family), "classid"],
    data: ["classid"],
    dynamic: { size: AFFINITY_SIZE, timeoutMs: AFFINITY_TIMEOUT_MS },
  });
}

/**
 * The set of allowed sources is a concatenation with intervals. The kernel copies it for each transaction that changes
 * it: 2 ms with 1,000 entries, 24 ms with 10,000 (Linux 6.18, two busy processors). Changes of endpoints do not affect
 * it.
 */
function familySets(family: Family): TupleSet[] {
  const single = addressType(family);
  return [
    plain("connections", family, "frontends", { hasCounters: true }),
    plain("cluster-ips", family, "ClusterIPs", { fields: [single] }),
    plain("internal-frontends", family, "ClusterIPs without affinity: number of endpoints", { data: ["classid"] }),
    plain("external", family, "frontends that are no ClusterIP"),
    plain("local-policy", family, "those of policy Local"),
    plain("firewalled", family, "frontends that do not allow all sources"),
    plain("allowed-sources", family, "sources that they allow", {
      fields: [...rowFields(family), single],
      hasRanges: true,
    }),
    plain("unanswered", family, "frontends without endpoints"),
    plain("dropped", family, "those that have endpoints elsewhere"),
    plain("hairpin", family, "endpoints on this node", { fields: [single, ...rowFields(family)] }),
    plain("affinity-ids", family, "Services with affinity", { data: ["classid"] }),
    plain("affinity-seconds", family, "how long it lasts", { data: ["classid"] }),
    ...LISTS.flatMap((list) => listSets(list, family)),
  ];
}

function listSets(list: List, family: Family): TupleSet[] {
  const endpoint = [addressType(family), "inet_service"] as const;
  const where = list === "" ? "" : " on this node";
  return [
    plain(`${list}frontends`, family, `no ClusterIP, no affinity: number of endpoints${where}`, { data: ["classid"] }),
    plain(`${list}sizes`, family, `with affinity: number of endpoints${where}`, { data: ["classid"] }),
    plain(`${list}endpoints`, family, `endpoints${where}, by number`, {
      fields: [...rowFields(family), "random"],
      data: endpoint,
    }),
    plain(`${list}sticky`, family, `with affinity: endpoints${where}, by token`, {
      fields: [...rowFields(family), "classid"],
      data: endpoint,
    }),
  ];
}

/** The sets whose elements belong to frontends, and those that rules fill: all except those of settings and parts. */
export const FRONTEND_SETS: readonly TupleSet[] = FAMILIES.flatMap(familySets);
export const ELEMENT_SETS: readonly TupleSet[] = [...FRONTEND_SETS, ...FAMILIES.map(affinitySet)];
