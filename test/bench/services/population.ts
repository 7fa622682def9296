/** The benchmark's Services: each has a ClusterIP with TCP port 80, and its own endpoints. */
import type { EndpointSlice } from "../../../pkg/cluster/service/endpoint-slice.ts";
import type { Service } from "../../../pkg/cluster/service/service.ts";
import { endpoint, port, service, slice } from "../../services/core-bed.ts";

const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");

/** 10.16.0.1 and following. */
export const CLUSTER_IPS = "10.16.0.0/12";
const FIRST_CLUSTER_IP = 0x0a10_0001;
/** The same Services on the other node, with kube-proxy's ruleset: 10.32.0.1 and following. */
export const OTHER_CLUSTER_IPS = "10.32.0.0/12";
const FIRST_OTHER_CLUSTER_IP = 0x0a20_0001;
/** 10.128.0.1 and following. The server has all of them. */
export const ENDPOINTS = "10.128.0.0/9";
const FIRST_ENDPOINT = 0x0a80_0001;
export const ENDPOINT_PORT = 8080;

export const clusterIp = (n: number) => dotted(FIRST_CLUSTER_IP + n);
export const otherClusterIp = (n: number) => dotted(FIRST_OTHER_CLUSTER_IP + n);
export const serviceKey = (n: number) => `default/service-${n}`;

export function endpointAddresses(n: number, count: number): string[] {
  return Array.from({ length: count }, (_, at) => dotted(FIRST_ENDPOINT + n * count + at));
}

export function benchService(n: number): Service {
  const [address] = service({}).clusterIPs;
  if (address === undefined) throw new Error("a Service without an address");
  return service({ clusterIPs: [{ ...address, value: BigInt(FIRST_CLUSTER_IP + n) }], ports: [port(80)] });
}

/** All endpoints of a Service. The one with number `without` is not ready. */
export function benchSlices(n: number, count: number, without?: number): EndpointSlice[] {
  const all = endpointAddresses(n, count).map((address, at) => endpoint(address, { isReady: at !== without }));
  return [slice(all, { service: serviceKey(n), ports: [{ name: "", protocol: 6, port: ENDPOINT_PORT }] })];
}
