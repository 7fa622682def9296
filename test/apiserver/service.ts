/** The fields that a server fills in for a Service (core/v1): defaults, a cluster IP and node ports. */
import { isObject, type Json, type JsonObject, type KubeObject } from "./resource.ts";

/** The range of cluster IPs, kubeadm's default; IPv4 only. */
const CLUSTER_IPS = { prefix: "10.96", count: 65_534 } as const;
const NODE_PORTS = { first: 30_000, last: 32_767 } as const;
const AFFINITY_SECONDS = 10_800;

/** Pure. `others`: the stored Services, whose addresses and ports are taken. */
export function completeService(object: KubeObject, others: () => readonly KubeObject[]): KubeObject {
  const given = isObject(object.spec) ? object.spec : {};
  const spec: JsonObject = { type: "ClusterIP", sessionAffinity: "None", ...given };
  const isExternalName = spec.type === "ExternalName";
  const isExternal = spec.type === "NodePort" || spec.type === "LoadBalancer";
  if (!isExternalName) completeAddresses(spec, others);
  if (!isExternalName) spec.internalTrafficPolicy ??= "Cluster";
  if (isExternal) spec.externalTrafficPolicy ??= "Cluster";
  if (spec.type === "LoadBalancer") spec.allocateLoadBalancerNodePorts ??= true;
  if (spec.sessionAffinity === "ClientIP")
    spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: AFFINITY_SECONDS } };
  if (Array.isArray(spec.ports)) {
    const ports = spec.ports.map(completePort);
    const isAllocated = isExternal && spec.allocateLoadBalancerNodePorts !== false;
    spec.ports = isAllocated ? withNodePorts(ports, nodePortsOf(others())) : ports;
  }
  return { ...object, spec, status: { loadBalancer: {}, ...(isObject(object.status) ? object.status : {}) } };
}

function completeAddresses(spec: JsonObject, others: () => readonly KubeObject[]): void {
  const [first] = Array.isArray(spec.clusterIPs) ? spec.clusterIPs : [];
  spec.clusterIP = spec.clusterIP || first || freeAddress(others());
  spec.clusterIPs ??= [spec.clusterIP];
  const addresses = (spec.clusterIPs as Json[]).filter((address) => address !== "None").map(String);
  spec.ipFamilies ??= addresses.length === 0 ? ["IPv4"] : addresses.map(familyOf);
  spec.ipFamilyPolicy ??= (spec.ipFamilies as Json[]).length > 1 ? "RequireDualStack" : "SingleStack";
}

function completePort(port: Json): Json {
  if (!isObject(port)) return port;
  return { protocol: "TCP", targetPort: port.port ?? 0, ...port };
}

function withNodePorts(ports: readonly Json[], taken: Set<string>): Json[] {
  return ports.map((port) => {
    if (!isObject(port) || port.nodePort) return port;
    const nodePort = freePort(String(port.protocol), taken);
    taken.add(`${String(port.protocol)} ${nodePort}`);
    return { ...port, nodePort };
  });
}

function nodePortsOf(services: readonly KubeObject[]): Set<string> {
  const ports = services.flatMap(({ spec }) => (isObject(spec) && Array.isArray(spec.ports) ? spec.ports : []));
  return new Set(ports.filter(isObject).map(({ protocol, nodePort }) => `${String(protocol)} ${String(nodePort)}`));
}

function freePort(protocol: string, taken: ReadonlySet<string>): number {
  for (let port: number = NODE_PORTS.first; port <= NODE_PORTS.last; port++) {
    if (!taken.has(`${protocol} ${port}`)) return port;
  }
  throw new Error("all node ports are taken");
}

function freeAddress(services: readonly KubeObject[]): string {
  const taken = new Set(services.flatMap(({ spec }) => (isObject(spec) ? [spec.clusterIP] : [])));
  for (let number = 1; number <= CLUSTER_IPS.count; number++) {
    const address = `${CLUSTER_IPS.prefix}.${number >> 8}.${number & 0xff}`;
    if (!taken.has(address)) return address;
  }
  throw new Error("all cluster IPs are taken");
}

function familyOf(address: string): string {
  return address.includes(":") ? "IPv6" : "IPv4";
}
