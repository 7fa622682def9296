/** Two isolated pods between which connections are measured, and the policies that isolate them. */
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import { NODE, type PopulationObject, putNamespace, putPod, putPolicy } from "./population.ts";

export interface MeasuredPods {
  /** Addresses. */
  readonly client: string;
  readonly server: string;
  /** Policies that select both pods. Only the last allows the connections. */
  readonly policies: number;
}

export const PORT = 80;
/** A port to which the client may not connect. */
export const DENIED_PORT = 81;
const NAMESPACE = "measured";

export function putMeasuredPods(map: PolicyMap, { client, server, policies }: MeasuredPods): void {
  putNamespace(map, { metadata: { name: NAMESPACE, labels: { "kubernetes.io/metadata.name": NAMESPACE } } });
  putPod(map, podOf("client", client));
  putPod(map, podOf("server", server));
  for (let at = 1; at < policies; at++)
    putPolicy(map, policyOf(`other-${at}`, `other-${at}`, `other-${at}`, 1000 + at));
  putPolicy(map, policyOf("last", "client", "server", PORT));
}

function podOf(name: string, ip: string): PopulationObject {
  return {
    metadata: { namespace: NAMESPACE, name, uid: name, labels: { app: name } },
    spec: { nodeName: NODE },
    status: { phase: "Running", podIPs: [{ ip }] },
  };
}

/** Selects all pods of the namespace, in both directions. */
function policyOf(name: string, from: string, to: string, port: number): PopulationObject {
  const peer = (app: string) => [{ podSelector: { matchLabels: { app } } }];
  const ports = [{ protocol: "TCP", port }];
  return {
    metadata: { namespace: NAMESPACE, name },
    spec: {
      ...{ podSelector: {}, policyTypes: ["Ingress", "Egress"] },
      ...{ ingress: [{ from: peer(from), ports }], egress: [{ to: peer(to), ports }] },
    },
  };
}
