/**
 * A cluster with many policies: namespaces of some ten pods, of three applications each. Policies select one application
 * of their namespace, and allow others by pod selectors, namespace selectors and blocks, as users write them.
 */
import { NAMESPACE_PARSER } from "../../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER } from "../../../pkg/cluster/policy/pod.ts";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";

export interface PopulationSize {
  readonly policies: number;
  /** Pods of the cluster, including those of the measured node. */
  readonly pods: number;
  /** Pods of the measured node. */
  readonly local: number;
}

export const NODE = "node-0";
const APPS = ["web", "api", "db"] as const;
export type App = (typeof APPS)[number];
const PODS_PER_NAMESPACE = 20;

/** A Kubernetes object. */
export interface PopulationObject {
  readonly metadata: {
    readonly namespace?: string;
    readonly name: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [key: string]: unknown;
}

export interface Population {
  readonly namespaces: readonly PopulationObject[];
  readonly policies: readonly PopulationObject[];
  /** Pod number `pod`, with the labels of the application `app`. */
  pod(pod: number, app?: App): PopulationObject;
  /** The numbers of the pods of the node `NODE`. */
  readonly local: readonly number[];
  /** Puts all objects into a map for the node `NODE`. */
  fill(map: PolicyMap): void;
  /** Puts a pod into `map`, with the labels of the application `app`. */
  relabel(map: PolicyMap, pod: number, app: App): void;
}

export function populate({ policies, pods, local }: PopulationSize): Population {
  const count = Math.ceil(pods / PODS_PER_NAMESPACE);
  // Pods of the node are spread over the namespaces.
  const stride = Math.max(1, Math.floor(pods / local));
  const isLocal = (pod: number) => pod % stride === 0 && pod / stride < local;
  const podObject = (pod: number, app: App = appOf(pod)) =>
    podOf(pod, { app, namespace: namespaceOf(pod % count), nodeName: isLocal(pod) ? NODE : `node-${1 + (pod % 99)}` });
  const population: Population = {
    namespaces: Array.from({ length: count }, (_, at) => {
      const name = namespaceOf(at);
      return { metadata: { name, labels: { "kubernetes.io/metadata.name": name, team: `team-${at % 25}` } } };
    }),
    policies: Array.from({ length: policies }, (_, at) => ({
      metadata: { namespace: namespaceOf(at % count), name: `policy-${at}` },
      spec: policySpec(at),
    })),
    pod: podObject,
    local: Array.from({ length: Math.min(local, pods) }, (_, at) => at * stride),
    fill(map) {
      for (const object of population.namespaces) putNamespace(map, object);
      for (const object of population.policies) putPolicy(map, object);
      for (let pod = 0; pod < pods; pod++) putPod(map, podObject(pod));
    },
    relabel: (map, pod, app) => putPod(map, podObject(pod, app)),
  };
  return population;
}

export function putNamespace(map: PolicyMap, object: PopulationObject): void {
  map.setNamespace(object.metadata.name, NAMESPACE_PARSER.parse(object));
}

export function putPolicy(map: PolicyMap, object: PopulationObject): void {
  map.setPolicy(keyOf(object), NETWORK_POLICY_PARSER.parse(object));
}

export function putPod(map: PolicyMap, object: PopulationObject): void {
  map.setPod(keyOf(object), POD_PARSER.parse(object));
}

/** "namespace/name" */
export const keyOf = ({ metadata: { namespace = "", name } }: PopulationObject) => `${namespace}/${name}`;

const namespaceOf = (at: number) => `ns-${at}`;
const appOf = (pod: number) => APPS[pod % APPS.length] as App;

function podOf(pod: number, { app, namespace, nodeName }: Record<"namespace" | "nodeName", string> & { app: App }) {
  const [high, low] = [pod >> 8, pod & 255];
  const podIPs = [{ ip: `10.${64 + (high >> 8)}.${high & 255}.${low}` }, { ip: `fd00::${pod.toString(16)}` }];
  return {
    metadata: {
      ...{ namespace, name: `pod-${pod}`, uid: `uid-${pod}` },
      labels: { app, "pod-template-hash": `${pod % 500}` },
    },
    spec: { nodeName, containers: [{ ports: [{ name: "http", containerPort: app === "web" ? 8080 : 8081 }] }] },
    status: { phase: "Running", podIP: podIPs[0]?.ip, podIPs },
  };
}

function policySpec(at: number): unknown {
  const app = APPS[at % APPS.length];
  const client = { podSelector: { matchLabels: { app: APPS[(at + 1) % APPS.length] } } };
  const team = {
    namespaceSelector: { matchLabels: { team: `team-${at % 25}` } },
    podSelector: { matchLabels: { app: "api" } },
  };
  const block = { ipBlock: { cidr: `10.${at % 200}.0.0/16`, except: [`10.${at % 200}.1.0/24`] } };
  return {
    podSelector: { matchLabels: { app } },
    policyTypes: at % 4 === 0 ? ["Ingress"] : ["Ingress", "Egress"],
    ingress: [
      { from: [client, team], ports: [{ protocol: "TCP", port: at % 5 === 0 ? "http" : 8080 }] },
      ...(at % 3 === 0 ? [{ from: [block], ports: [{ protocol: "TCP", port: 9000, endPort: 9100 }] }] : []),
    ],
    egress: [
      { to: [client], ports: [{ protocol: "TCP", port: at % 7 === 0 ? "http" : 8080 }] },
      { to: [{ namespaceSelector: {} }], ports: [{ protocol: "UDP", port: 53 }] },
    ],
  };
}
