/**
 * The source of NetworkPolicies and ClusterNetworkPolicies, and of the Namespaces and Pods that they select. Pods and
 * Namespaces are listed only on demand, because a cluster without policies does not need them.
 */
import type { ClusterNetworkPolicy } from "../../pkg/cluster/policy/cluster-network-policy.ts";
import type { Namespace } from "../../pkg/cluster/policy/namespace.ts";
import type { NetworkPolicy } from "../../pkg/cluster/policy/network-policy.ts";
import type { Pod } from "../../pkg/cluster/policy/pod.ts";
import type { ObjectSource } from "./service-source.ts";

export interface PolicySource {
  readonly policies: ObjectSource<NetworkPolicy>;
  /** `absent`, and synced, if the API server does not have this resource. */
  readonly clusterPolicies: ObjectSource<ClusterNetworkPolicy>;
  readonly namespaces: ObjectSource<Namespace>;
  /** The pods of the whole cluster. */
  readonly pods: ObjectSource<Pod>;
  /** Starts listing both kinds of policies. Must be called once, after all subscriptions. */
  start(): void;
  /** Starts listing Namespaces and Pods. Later calls have no effect. */
  startPods(): void;
  /**
   * Reads one pod, "namespace/name", from the API server. Undefined if it does not exist. Rejects with `KubernetesError`.
   */
  getPod(key: string, signal: AbortSignal): Promise<Pod | undefined>;
  /** Resolves when no listener will be called any more. */
  stop(): Promise<void>;
}
