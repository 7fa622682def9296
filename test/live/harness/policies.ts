/** NetworkPolicies and Pods of a live cluster, in the namespace `default`. */
import type { Cluster, Node, Pod } from "./cluster.ts";

const NAMESPACE = "default";
const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
const POLICIES = `/apis/networking.k8s.io/v1/namespaces/${NAMESPACE}/networkpolicies`;

type Labels = Readonly<Record<string, string | null>>;

export class PolicyObjects {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Creates a Pod that is bound to the node and has no address yet. Returns its UID. */
  async createPod(node: Node, name: string, labels: Labels): Promise<string> {
    const created = await this.#cluster.api("POST", PODS, {
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: NAMESPACE, labels } },
      spec: { nodeName: node.name, containers: [{ name: "c", image: "i" }] },
    });
    return (created as { readonly metadata: { readonly uid: string } }).metadata.uid;
  }

  /** Attaches a created Pod, as the runtime does. Its status has no address afterwards. */
  attach(node: Node, name: string, uid: string): Promise<Pod> {
    return this.#cluster.addPod(node, name, { namespace: NAMESPACE, name, uid });
  }

  /** Reports the pod's addresses, as kubelet does some time after the attachment. */
  async report(name: string, addresses: readonly string[]): Promise<void> {
    const podIPs = addresses.map((ip) => ({ ip }));
    await this.#cluster.api("PATCH", `${PODS}/${name}/status`, {
      status: { phase: "Running", podIP: addresses[0], podIPs },
    });
  }

  /** Creates, attaches and reports a Pod with the label `app` of its name. */
  async start(node: Node, name: string, labels: Labels = { app: name }): Promise<Pod> {
    const pod = await this.attach(node, name, await this.createPod(node, name, labels));
    await this.report(name, pod.addresses);
    return pod;
  }

  async relabel(name: string, labels: Labels): Promise<void> {
    await this.#cluster.api("PATCH", `${PODS}/${name}`, { metadata: { labels } });
  }

  async removePod(name: string): Promise<void> {
    await this.#cluster.api("DELETE", `${PODS}/${name}`);
  }

  /** Isolates the pods with the label `app` for ingress, except from pods with a label `app` of `from`. */
  async isolate(name: string, app: string, from: readonly string[] = []): Promise<void> {
    await this.#cluster.api("POST", POLICIES, {
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name, namespace: NAMESPACE } },
      spec: {
        ...{ podSelector: { matchLabels: { app } }, policyTypes: ["Ingress"] },
        ingress: from.map((label) => ({ from: [{ podSelector: { matchLabels: { app: label } } }] })),
      },
    });
  }

  async removePolicy(name: string): Promise<void> {
    await this.#cluster.api("DELETE", `${POLICIES}/${name}`);
  }
}
