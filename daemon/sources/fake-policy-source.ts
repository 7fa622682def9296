/** For tests: policies, Namespaces and Pods that a test adds and removes itself. */
import {
  CLUSTER_NETWORK_POLICY_PARSER,
  type ClusterNetworkPolicy,
} from "../../pkg/cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER, type Namespace } from "../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER, type NetworkPolicy } from "../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER, type Pod } from "../../pkg/cluster/policy/pod.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { FakeObjectSource } from "./fake-service-source.ts";
import type { PolicySource } from "./policy-source.ts";

export class FakePolicySource implements PolicySource {
  readonly policies = new FakeObjectSource<NetworkPolicy>(NETWORK_POLICY_PARSER);
  readonly clusterPolicies = new FakeObjectSource<ClusterNetworkPolicy>(CLUSTER_NETWORK_POLICY_PARSER);
  readonly namespaces = new FakeObjectSource<Namespace>(NAMESPACE_PARSER);
  readonly pods = new FakeObjectSource<Pod>(POD_PARSER);
  /** Pods that only a GET finds. */
  readonly unwatched = new Map<string, KubeObject>();
  isStarted = false;
  listsPods = false;

  /** Marks the policies as listed, in a cluster without ClusterNetworkPolicies. */
  listed(): void {
    this.policies.becomes({ phase: "watching", hasSynced: true });
    this.clusterPolicies.becomes({ phase: "absent", hasSynced: true });
  }

  podsListed(): void {
    for (const each of [this.namespaces, this.pods]) each.becomes({ phase: "watching", hasSynced: true });
  }

  start(): void {
    this.isStarted = true;
  }

  startPods(): void {
    this.listsPods = true;
  }

  async getPod(key: string): Promise<Pod | undefined> {
    const object = this.unwatched.get(key);
    return object && POD_PARSER.parse(object);
  }

  async stop(): Promise<void> {}
}

/** Makes a pod in the namespace `default`, with the label `app` of its name. */
export function podObject(
  name: string,
  ips: readonly string[],
  more: { labels?: object; node?: string; uid?: string } = {},
) {
  const { labels = { app: name }, node = "n1", uid = name } = more;
  return {
    metadata: { name, namespace: "default", uid, labels: labels as Readonly<Record<string, string>> },
    spec: { nodeName: node, containers: [] },
    status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })) },
  } satisfies KubeObject;
}

/** Makes a NetworkPolicy in the namespace `default` that isolates pods for ingress, except from pods with `from`. */
export function policyObject(name: string, app: string, from: readonly string[] = []): KubeObject {
  const ingress = from.map((label) => ({ from: [{ podSelector: { matchLabels: { app: label } } }] }));
  return {
    metadata: { name, namespace: "default", uid: name },
    spec: { podSelector: { matchLabels: { app } }, policyTypes: ["Ingress"], ingress },
  };
}
