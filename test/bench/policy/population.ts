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
const PODS_PER_NAMESPACE = 20;

export interface Population {
  /** Puts all objects into a map for the node `NODE`. */
  fill(map: PolicyMap): void;
  /** Puts a pod into `map`, with the labels of the application `app`. */
  relabel(map: PolicyMap, pod: number, app: (typeof APPS)[number]): void;
}

export function populate({ policies, pods, local }: PopulationSize): Population {
  const namespaces = Math.ceil(pods / PODS_PER_NAMESPACE);
  // Pods of the node are spread over the namespaces.
  const stride = Math.max(1, Math.floor(pods / local));
  const isLocal = (pod: number) => pod % stride === 0 && pod / stride < local;
  const setPod = (map: PolicyMap, pod: number, app: (typeof APPS)[number]) => {
    const namespace = namespaceOf(pod % namespaces);
    const name = `pod-${pod}`;
    const nodeName = isLocal(pod) ? NODE : `node-${1 + (pod % 99)}`;
    const [high, low] = [pod >> 8, pod & 255];
    const object = {
      metadata: { namespace, name, uid: `uid-${pod}`, labels: { app, "pod-template-hash": `${pod % 500}` } },
      spec: { nodeName, containers: [{ ports: [{ name: "http", containerPort: app === "web" ? 8080 : 8081 }] }] },
      status: {
        phase: "Running",
        podIPs: [{ ip: `10.${64 + (high >> 8)}.${high & 255}.${low}` }, { ip: `fd00::${pod.toString(16)}` }],
      },
    };
    map.setPod(`${namespace}/${name}`, POD_PARSER.parse(object));
  };
  return {
    fill(map) {
      for (let at = 0; at < namespaces; at++) {
        const name = namespaceOf(at);
        const labels = { "kubernetes.io/metadata.name": name, team: `team-${at % 25}` };
        map.setNamespace(name, NAMESPACE_PARSER.parse({ metadata: { name, labels } }));
      }
      for (let at = 0; at < policies; at++) {
        const [namespace, name] = [namespaceOf(at % namespaces), `policy-${at}`];
        const object = { metadata: { namespace, name }, spec: policySpec(at) };
        map.setPolicy(`${namespace}/${name}`, NETWORK_POLICY_PARSER.parse(object));
      }
      for (let pod = 0; pod < pods; pod++) setPod(map, pod, APPS[pod % APPS.length] as (typeof APPS)[number]);
    },
    relabel: setPod,
  };
}

const namespaceOf = (at: number) => `ns-${at}`;

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
