/** Large numbers of Services and EndpointSlices as controllers write them, with the unused content of real objects. */
import type { ObjectInput } from "../apiserver/resource.ts";

/** The size of managed fields and of the copy that `kubectl apply` keeps: about 2 KiB. */
const BALLAST = { "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(2000) };

const NODES = 1000;

/** Addresses from "10.96.0.1" on. */
function addressOf(first: number, n: number): string {
  const value = first + n;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}

const CLUSTER_IPS = 0x0a60_0001;
const PODS = 0x0ac8_0001;

export function populationService(n: number): ObjectInput {
  const clusterIP = addressOf(CLUSTER_IPS, n);
  return {
    metadata: { name: `service-${n}`, namespace: `team-${n % 100}`, annotations: BALLAST, labels: { app: `app-${n}` } },
    spec: {
      ...{ type: "ClusterIP", clusterIP, clusterIPs: [clusterIP], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" },
      ...{ internalTrafficPolicy: "Cluster", sessionAffinity: "None", selector: { app: `app-${n}` } },
      ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080 }],
    },
  };
}

/** All endpoints of `populationService(n)`. The first is not ready if `isFlipped`. */
export function populationSlice(n: number, endpointCount: number, isFlipped = false): ObjectInput {
  const namespace = `team-${n % 100}`;
  return {
    metadata: {
      ...{ name: `service-${n}-x7k2p`, namespace },
      labels: { "kubernetes.io/service-name": `service-${n}`, app: `app-${n}` },
      annotations: { ...BALLAST, "endpoints.kubernetes.io/last-change-trigger-time": "2026-11-30T03:00:41Z" },
    },
    addressType: "IPv4",
    endpoints: Array.from({ length: endpointCount }, (_, index) => ({
      addresses: [addressOf(PODS, n * endpointCount + index)],
      conditions: { ready: !(isFlipped && index === 0), serving: true, terminating: false },
      nodeName: `node-${(n * endpointCount + index) % NODES}.example.internal`,
      zone: `zone-${index % 3}`,
      targetRef: { kind: "Pod", namespace, name: `service-${n}-798d94cb8d-${index}x${n}`, uid: `uid-${n}-${index}` },
    })),
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
  };
}
