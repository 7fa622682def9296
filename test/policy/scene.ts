/**
 * The objects of a truth table's cluster: three namespaces with three pods each, on two nodes, and what the steps of a case
 * change. A site carries changes out: the bed on a real kernel, or the compiler alone.
 */
import type { World } from "./oracle.ts";

// biome-ignore lint/suspicious/noExplicitAny: objects of the Kubernetes API
export type Json = any;
export type Labels = Readonly<Record<string, string>>;
export type Addresses = Readonly<Record<4 | 6, string>>;

export const NODES = ["n1", "n2"] as const;
export type NodeName = (typeof NODES)[number];
export const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface PodRecord {
  /** "namespace/name". */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: NodeName;
  readonly labels: Labels;
  /** Undefined until the pod is attached. */
  readonly addresses: Addresses | undefined;
}

/** One change of the cluster. Objects are replaced as a whole. */
export type Action =
  | { readonly do: "apply"; readonly policy: Json }
  | { readonly do: "remove policy"; readonly namespace: string; readonly name: string }
  | { readonly do: "apply cluster policy"; readonly policy: Json }
  | { readonly do: "remove cluster policy"; readonly name: string }
  | { readonly do: "label pod"; readonly pod: string; readonly labels: Labels }
  | { readonly do: "create pod"; readonly pod: string; readonly labels: Labels; readonly node?: NodeName }
  | { readonly do: "delete pod"; readonly pod: string }
  | { readonly do: "label namespace"; readonly name: string; readonly labels: Labels }
  | { readonly do: "create namespace"; readonly name: string; readonly labels: Labels }
  | { readonly do: "delete namespace"; readonly name: string };

export type ObjectKind = "namespace" | "pod" | "policy" | "cluster policy";

export interface Change {
  readonly kind: ObjectKind;
  /** "namespace/name", or "name". */
  readonly key: string;
  /** Undefined: the object is deleted. */
  readonly object: Json | undefined;
  readonly isNew: boolean;
}

export interface Site {
  write(change: Change): void | Promise<void>;
  /** Attaches a pod whose object exists, and returns its addresses. */
  attach(pod: PodRecord): Addresses | Promise<Addresses>;
  detach(pod: PodRecord): void | Promise<void>;
}

const INITIAL_NAMESPACES = ["x", "y", "z"];
const INITIAL_PODS = ["a", "b", "c"];

/** Half of all pairs in each namespace, and of those between namespaces, are on one node. */
const nodeOf = (namespace: string, name: string): NodeName =>
  NODES[(namespace.charCodeAt(0) + name.charCodeAt(0)) % 2] as NodeName;

export class Scene {
  readonly #site: Site;
  readonly #namespaces = new Map<string, Labels>();
  readonly #pods = new Map<string, PodRecord>();
  readonly #policies = new Map<string, Json>();
  readonly #clusterPolicies = new Map<string, Json>();
  #created = 0;

  constructor(site: Site) {
    this.#site = site;
  }

  get pods(): readonly PodRecord[] {
    return [...this.#pods.values()];
  }

  get world(): World & { readonly clusterPolicies: readonly Json[] } {
    return {
      policies: [...this.#policies.values()],
      clusterPolicies: [...this.#clusterPolicies.values()],
      namespaces: [...this.#namespaces].map(([name, labels]) => namespaceObject(name, labels)),
      pods: this.pods.map(podObject),
    };
  }

  /** The address of a pod. Throws if it is not attached. */
  addressOf(pod: string, family: 4 | 6): string {
    const address = this.#pods.get(pod)?.addresses?.[family];
    if (address === undefined) throw new Error(`pod ${pod} has no address`);
    return address;
  }

  /** Restores the state in which each case begins: no policies, and the initial namespaces, pods and labels. */
  async reset(): Promise<void> {
    for (const key of this.#policies.keys()) await this.#write("policy", this.#policies, key, undefined);
    for (const key of this.#clusterPolicies.keys())
      await this.#write("cluster policy", this.#clusterPolicies, key, undefined);
    for (const name of this.#namespaces.keys()) {
      if (!INITIAL_NAMESPACES.includes(name)) await this.perform({ do: "delete namespace", name });
    }
    for (const name of INITIAL_NAMESPACES) {
      const labels = { ns: name };
      if (!this.#namespaces.has(name)) await this.perform({ do: "create namespace", name, labels });
      else if (!isSame(this.#namespaces.get(name), labels)) await this.perform({ do: "label namespace", name, labels });
    }
    const initial = INITIAL_NAMESPACES.flatMap((namespace) => INITIAL_PODS.map((name) => `${namespace}/${name}`));
    for (const pod of this.#pods.keys()) if (!initial.includes(pod)) await this.perform({ do: "delete pod", pod });
    for (const pod of initial) {
      const labels = initialLabels(pod);
      if (!this.#pods.has(pod)) await this.perform({ do: "create pod", pod, labels });
      else if (!isSame(this.#pods.get(pod)?.labels, labels)) await this.perform({ do: "label pod", pod, labels });
    }
  }

  async perform(action: Action): Promise<void> {
    switch (action.do) {
      case "apply": {
        const { namespace, name } = action.policy.metadata;
        await this.#write("policy", this.#policies, `${namespace}/${name}`, action.policy);
        return;
      }
      case "remove policy":
        await this.#write("policy", this.#policies, `${action.namespace}/${action.name}`, undefined);
        return;
      case "apply cluster policy":
        await this.#write("cluster policy", this.#clusterPolicies, action.policy.metadata.name, action.policy);
        return;
      case "remove cluster policy":
        await this.#write("cluster policy", this.#clusterPolicies, action.name, undefined);
        return;
      case "label pod":
        await this.#setPod({ ...this.#pod(action.pod), labels: action.labels });
        return;
      case "create pod":
        await this.#createPod(action.pod, action.labels, action.node);
        return;
      case "delete pod":
        await this.#deletePod(this.#pod(action.pod));
        return;
      case "create namespace":
      case "label namespace": {
        const isNew = action.do === "create namespace";
        if (isNew === this.#namespaces.has(action.name))
          throw new Error(`${action.do} ${action.name}: it does not fit`);
        this.#namespaces.set(action.name, action.labels);
        const object = namespaceObject(action.name, action.labels);
        await this.#site.write({ kind: "namespace", key: action.name, object, isNew });
        return;
      }
      case "delete namespace":
        await this.#deleteNamespace(action.name);
        return;
    }
  }

  #pod(key: string): PodRecord {
    const pod = this.#pods.get(key);
    if (pod === undefined) throw new Error(`no pod ${key}`);
    return pod;
  }

  async #write(kind: ObjectKind, objects: Map<string, Json>, key: string, object: Json | undefined): Promise<void> {
    const isNew = !objects.has(key);
    if (isNew && object === undefined) throw new Error(`no ${kind} ${key}`);
    if (object === undefined) objects.delete(key);
    else objects.set(key, object);
    await this.#site.write({ kind, key, object, isNew });
  }

  async #setPod(pod: PodRecord): Promise<void> {
    const isNew = !this.#pods.has(pod.key);
    this.#pods.set(pod.key, pod);
    await this.#site.write({ kind: "pod", key: pod.key, object: podObject(pod), isNew });
  }

  /** As in a cluster: the pod is bound to its node, the runtime attaches it, and kubelet reports its addresses. */
  async #createPod(key: string, labels: Labels, node?: NodeName): Promise<void> {
    if (this.#pods.has(key)) throw new Error(`pod ${key} exists`);
    const [namespace = "", name = ""] = key.split("/");
    const uid = `pod-${++this.#created}`;
    const bound: PodRecord = {
      ...{ key, namespace, name, uid, labels, addresses: undefined },
      node: node ?? nodeOf(namespace, name),
    };
    await this.#setPod(bound);
    await this.#setPod({ ...bound, addresses: await this.#site.attach(bound) });
  }

  async #deletePod(pod: PodRecord): Promise<void> {
    await this.#site.detach(pod);
    this.#pods.delete(pod.key);
    await this.#site.write({ kind: "pod", key: pod.key, object: undefined, isNew: false });
  }

  async #deleteNamespace(name: string): Promise<void> {
    for (const pod of this.pods) if (pod.namespace === name) await this.#deletePod(pod);
    for (const key of this.#policies.keys())
      if (key.startsWith(`${name}/`)) await this.#write("policy", this.#policies, key, undefined);
    if (!this.#namespaces.delete(name)) throw new Error(`no namespace ${name}`);
    await this.#site.write({ kind: "namespace", key: name, object: undefined, isNew: false });
  }
}

export function initialLabels(pod: string): Labels {
  return { pod: pod.split("/")[1] ?? "" };
}

const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

/** The API server adds the label with the name. */
function namespaceObject(name: string, labels: Labels): Json {
  return {
    ...{ apiVersion: "v1", kind: "Namespace" },
    metadata: { name, labels: { ...labels, "kubernetes.io/metadata.name": name } },
  };
}

/** The named port `web` has another number or protocol in each namespace; pods of z have none of protocol TCP. */
const WEB: Readonly<Record<string, Json>> = {
  x: { name: "web", containerPort: 80, protocol: "TCP" },
  y: { name: "web", containerPort: 81, protocol: "TCP" },
  z: { name: "web", containerPort: 80, protocol: "UDP" },
};

function podObject({ namespace, name, uid, node, labels, addresses }: PodRecord): Json {
  const ports = PROTOCOLS.flatMap((protocol) =>
    [80, 81].map((containerPort) => ({
      ...{ containerPort, protocol },
      name: `serve-${containerPort}-${protocol.toLowerCase()}`,
    })),
  );
  const web = WEB[namespace];
  return {
    ...{ apiVersion: "v1", kind: "Pod" },
    metadata: { namespace, name, uid, labels },
    spec: { nodeName: node, containers: [{ name: "server", image: "server", ports: web ? [...ports, web] : ports }] },
    status:
      addresses === undefined
        ? { phase: "Pending" }
        : { phase: "Running", podIP: addresses[4], podIPs: [{ ip: addresses[4] }, { ip: addresses[6] }] },
  };
}
