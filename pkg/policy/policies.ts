/** The policies of the cluster, and those that concern a pod. */
import type { ClusterNetworkPolicy } from "../cluster/policy/cluster-network-policy.ts";
import type { Labels } from "../cluster/policy/labels.ts";
import type { NetworkPolicy, PolicyPort } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { matchesLabels } from "../cluster/policy/selector.ts";
import type { Direction } from "./state.ts";
import type { PortNameTerm } from "./term.ts";

export interface NamedPolicy {
  /** "namespace/name" */
  readonly key: string;
  readonly policy: NetworkPolicy;
}

/** The policies that concern a pod in one direction. Ordered: the order of evaluation, if the tier has one. */
export interface ApplicablePolicies {
  readonly admin: readonly ClusterNetworkPolicy[];
  /** Policies that isolate the pod. */
  readonly isolating: readonly NamedPolicy[];
  /** Empty if NetworkPolicies isolate the pod: their decision is final. */
  readonly baseline: readonly ClusterNetworkPolicy[];
}

export class Policies {
  readonly #policies = new Map<string, NamedPolicy>();
  readonly #keysByNamespace = new Map<string, Set<string>>();
  readonly #cluster = new Map<string, ClusterNetworkPolicy>();
  /** In the order of evaluation; undefined after a change. */
  #ordered: readonly ClusterNetworkPolicy[] | undefined;

  get count(): number {
    return this.#policies.size;
  }

  get clusterCount(): number {
    return this.#cluster.size;
  }

  all(): Iterable<NamedPolicy> {
    return this.#policies.values();
  }

  allOfCluster(): Iterable<ClusterNetworkPolicy> {
    return this.#cluster.values();
  }

  get(key: string): NetworkPolicy | undefined {
    return this.#policies.get(key)?.policy;
  }

  getOfCluster(name: string): ClusterNetworkPolicy | undefined {
    return this.#cluster.get(name);
  }

  /** True if an egress rule of the policy names one of the ports. */
  namesPort(name: string, terms: readonly PortNameTerm[]): boolean {
    const rules = this.get(name)?.egress ?? this.getOfCluster(name)?.egress ?? [];
    const isNamed = ({ port, protocol }: PolicyPort) =>
      terms.some((term) => term.name === port && term.protocol === protocol);
    return rules.some(({ ports }) => ports?.some(isNamed));
  }

  set(key: string, policy: NetworkPolicy | undefined): void {
    const namespace = (policy ?? this.get(key))?.namespace;
    if (namespace === undefined) return;
    const keys = this.#keysByNamespace.get(namespace) ?? new Set();
    this.#keysByNamespace.set(namespace, keys);
    if (policy === undefined) {
      this.#policies.delete(key);
      keys.delete(key);
    } else {
      this.#policies.set(key, { key, policy });
      keys.add(key);
    }
    if (keys.size === 0) this.#keysByNamespace.delete(namespace);
  }

  setOfCluster(name: string, policy: ClusterNetworkPolicy | undefined): void {
    if (policy === undefined) this.#cluster.delete(name);
    else this.#cluster.set(name, policy);
    this.#ordered = undefined;
  }

  applicableTo(pod: Pod, namespaceLabels: Labels, direction: Direction): ApplicablePolicies {
    const isolating = [...(this.#keysByNamespace.get(pod.namespace) ?? [])].sort().flatMap((key) => {
      const named = this.#policies.get(key) as NamedPolicy;
      return named.policy[direction] !== undefined && selects(named.policy, pod) ? [named] : [];
    });
    this.#ordered ??= [...this.#cluster.values()].sort(compareClusterPolicies);
    const cluster = this.#ordered.filter(
      (policy) => policy[direction].length > 0 && selectsInCluster(policy, pod, namespaceLabels),
    );
    return {
      admin: cluster.filter(({ tier }) => tier === "Admin"),
      isolating,
      baseline: isolating.length > 0 ? [] : cluster.filter(({ tier }) => tier === "Baseline"),
    };
  }
}

/** Returns the names of all policies of a concern, sorted. */
export function namesOf({ admin, isolating, baseline }: ApplicablePolicies): readonly string[] {
  return [...[...admin, ...baseline].map(({ name }) => name), ...isolating.map(({ key }) => key)].sort();
}

/** The API leaves the order of equal priorities undefined; weft orders them by name. */
function compareClusterPolicies(a: ClusterNetworkPolicy, b: ClusterNetworkPolicy): number {
  return a.priority - b.priority || (a.name < b.name ? -1 : 1);
}

export function selects({ namespace, subject }: NetworkPolicy, pod: Pod): boolean {
  return namespace === pod.namespace && subject !== undefined && matchesLabels(subject, pod.labels);
}

export function selectsInCluster({ subject }: ClusterNetworkPolicy, pod: Pod, namespaceLabels: Labels): boolean {
  if (subject === undefined) return false;
  return matchesLabels(subject.namespaces, namespaceLabels) && matchesLabels(subject.pods, pod.labels);
}
