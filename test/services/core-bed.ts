/** Short forms of the input objects of the core of Services, and frontends as text. */
import type { EndpointSlice, SliceEndpoint, SlicePort } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Protocol, Service, ServicePort } from "../../pkg/cluster/service/service.ts";
import { type Address, formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, type Prefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import type { Endpoint, Frontend, FrontendChange } from "../../pkg/services/frontend.ts";
import type { NodeFacts } from "../../pkg/services/node-facts.ts";

export const addresses = (...texts: string[]): Address[] => texts.map(parseAddress);
export const prefixes = (...texts: string[]): Prefix[] => texts.map(parsePrefix);

/** Node n1 in zone a, 192.168.0.1 and 2001:db8::1. */
export function nodeFacts(more: Partial<NodeFacts> = {}): NodeFacts {
  return {
    name: "n1",
    zone: "a",
    addresses: addresses("192.168.0.1", "2001:db8::1"),
    nodePortAddresses: addresses("192.168.0.1", "2001:db8::1"),
    reserved: [],
    externalIPs: "all",
    ...more,
  };
}

export function port(number: number, more: Partial<ServicePort> = {}): ServicePort {
  return { name: "", protocol: 6, port: number, nodePort: 0, ...more };
}

/** ClusterIP 10.96.0.1, unnamed TCP port 80. */
export function service(more: Partial<Service> = {}): Service {
  return {
    type: "ClusterIP",
    clusterIPs: addresses("10.96.0.1"),
    ports: [port(80)],
    externalIPs: [],
    loadBalancerIPs: [],
    sourceRanges: [],
    affinitySeconds: undefined,
    internalTrafficPolicy: "Cluster",
    externalTrafficPolicy: "Cluster",
    healthCheckNodePort: 0,
    created: "2026-01-01T00:00:00Z",
    problems: [],
    ...more,
  };
}

/** Ready, on node n2. */
export function endpoint(address: string, more: Partial<SliceEndpoint> = {}): SliceEndpoint {
  return {
    address: parseAddress(address),
    isReady: true,
    isServing: true,
    isTerminating: false,
    nodeName: "n2",
    nodeHints: undefined,
    zoneHints: undefined,
    pod: undefined,
    ...more,
  };
}

export const LOCAL = { nodeName: "n1" };
export const UNREADY = { isReady: false, isServing: false };
export const TERMINATING = { isReady: false, isTerminating: true };
export const TERMINATED = { isReady: false, isServing: false, isTerminating: true };

/** An EndpointSlice of Service default/web, with the unnamed TCP port 8080. */
export function slice(
  endpoints: readonly (SliceEndpoint | string)[],
  more: Partial<EndpointSlice> = {},
): EndpointSlice {
  const whole = endpoints.map((one) => (typeof one === "string" ? endpoint(one) : one));
  const ports: SlicePort[] = [{ name: "", protocol: 6, port: 8080 }];
  const family = whole[0]?.address.family ?? 4;
  return { service: "default/web", family, ports, endpoints: whole, triggeredMs: undefined, ...more };
}

const PROTOCOL_NAMES = { 6: "TCP", 17: "UDP", 132: "SCTP" } as const satisfies Record<Protocol, string>;

/** "10.244.1.1:8080*, 10.244.2.1:8080": local endpoints have a star; "-" if there is none. */
export function formatEndpoints(endpoints: readonly Endpoint[]): string {
  const texts = endpoints.map(({ address, port, isLocal }) => `${formatSocket(address, port)}${isLocal ? "*" : ""}`);
  return texts.join(", ") || "-";
}

export function formatSocket(address: Address, port: number): string {
  return address.family === 4 ? `${formatAddress(address)}:${port}` : `[${formatAddress(address)}]:${port}`;
}

/** "NodePort 192.168.0.1:30080/TCP local -> cluster's endpoints | local endpoints [drop]". */
export function formatFrontend(frontend: Frontend): string {
  const { kind, address, port, protocol, policy, endpoints, localEndpoints } = frontend;
  const { withoutEndpoint, allowedSources, affinity } = frontend;
  const sources = allowedSources?.map(formatPrefix).join(" ");
  return [
    `${kind} ${formatSocket(address, port)}/${PROTOCOL_NAMES[protocol]} ${policy} -> ${formatEndpoints(endpoints)}`,
    ...(policy === "local" ? [`| ${formatEndpoints(localEndpoints)}`] : []),
    ...(withoutEndpoint === undefined ? [] : [withoutEndpoint]),
    ...(sources === undefined ? [] : [`from ${sources}`]),
    ...(affinity === undefined ? [] : [`sticky ${affinity.seconds} by ${affinity.key}`]),
  ].join(" ");
}

/** "+" new, "-" removed, "~" changed, each with the Service. */
export function formatChange({ before, after }: FrontendChange): string {
  const sign = before === undefined ? "+" : after === undefined ? "-" : "~";
  const frontend = after ?? before;
  return frontend === undefined ? "none" : `${sign} ${frontend.service} ${formatFrontend(frontend)}`;
}
