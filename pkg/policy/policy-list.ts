/** The list of policies for the debug page. */
import type { PodIndex } from "./pod-index.ts";
import type { Policies } from "./policies.ts";
import type { Direction, TierName } from "./state.ts";
import { DIRECTIONS, type Subjects } from "./subjects.ts";

export interface ListedPolicy {
  readonly kind: "NetworkPolicy" | "ClusterNetworkPolicy";
  /** As in `Step.policies`. */
  readonly name: string;
  readonly tier: TierName;
  /** Undefined for NetworkPolicies. */
  readonly priority: number | undefined;
  /** The directions in which it isolates pods or has rules. */
  readonly directions: readonly Direction[];
  /** The pods of this node that it concerns: "namespace/name", sorted. */
  readonly pods: readonly string[];
  /** True if all of these pods are in Namespaces in audit mode. */
  readonly isAudited: boolean;
  /** The parts of the object that cannot be read. */
  readonly problems: readonly string[];
}

const ORDER: readonly TierName[] = ["Admin", "NetworkPolicy", "Baseline"];

/** Returns the policies that concern a pod of this node, in the order of evaluation. */
export function listPolicies(policies: Policies, index: PodIndex, subjects: Subjects): readonly ListedPolicy[] {
  const podsByPolicy = new Map<string, Set<string>>();
  for (const key of subjects.keys()) {
    for (const name of DIRECTIONS.flatMap((direction) => subjects.policiesOf(key, direction))) {
      podsByPolicy.set(name, (podsByPolicy.get(name) ?? new Set()).add(key));
    }
  }
  const listed = [...podsByPolicy].flatMap(([name, keys]): ListedPolicy[] => {
    const pods = [...keys].sort();
    const isAudited = pods.every((key) => index.isAudited(index.get(key)?.pod.namespace ?? ""));
    const policy = policies.get(name);
    if (policy !== undefined) {
      const directions = DIRECTIONS.filter((direction) => policy[direction] !== undefined);
      const own = { kind: "NetworkPolicy", name, tier: "NetworkPolicy", priority: undefined } as const;
      return [{ ...own, directions, pods, isAudited, problems: policy.problems }];
    }
    const cluster = policies.getOfCluster(name);
    if (cluster === undefined) return [];
    const { tier, priority, problems } = cluster;
    const directions = DIRECTIONS.filter((direction) => cluster[direction].length > 0);
    return [{ kind: "ClusterNetworkPolicy", name, tier, priority, directions, pods, isAudited, problems }];
  });
  return listed.sort(comparePolicies);
}

function comparePolicies(a: ListedPolicy, b: ListedPolicy): number {
  const byTier = ORDER.indexOf(a.tier) - ORDER.indexOf(b.tier);
  return byTier || (a.priority ?? 0) - (b.priority ?? 0) || (a.name < b.name ? -1 : 1);
}
