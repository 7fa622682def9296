/** The parsed form of a Service (v1, core group), and its parser. */
import type { Address, Family } from "../../ip/address.ts";
import type { Prefix } from "../../ip/prefix.ts";
import type { ResourceParser } from "../parser.ts";
import type { Selection } from "../resource.ts";
import {
  addressesOf,
  flatMapCompact,
  intern,
  type JsonObject,
  listOf,
  NO_PROBLEMS,
  objectOf,
  parseEach,
  portOf,
  protocolOf,
  textOf,
} from "./field.ts";
import { parseSloppyPrefix } from "./sloppy.ts";

/** IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP. */
export type Protocol = 6 | 17 | 132;

export interface ServicePort {
  /**
   * Empty if a Service with a single port does not name it. EndpointSlices refer to a port by its name and protocol.
   */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** 0 means none. */
  readonly nodePort: number;
}

export type TrafficPolicy = "Cluster" | "Local";

export interface Service {
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** At most one for each family. Empty for a headless or ExternalName Service: nothing is programmed for it. */
  readonly clusterIPs: readonly Address[];
  readonly ports: readonly ServicePort[];
  readonly externalIPs: readonly Address[];
  /** `status.loadBalancer.ingress[].ip` entries whose `ipMode` is absent or VIP. Others need no rule on nodes. */
  readonly loadBalancerIPs: readonly Address[];
  readonly sourceRanges: readonly Prefix[];
  /** The timeout of `sessionAffinity: ClientIP` in seconds (1 to 86400). Undefined without affinity. */
  readonly affinitySeconds: number | undefined;
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  /** 0 means none. */
  readonly healthCheckNodePort: number;
  /**
   * `metadata.creationTimestamp`, RFC 3339 in UTC, which can be compared as text. If two Services claim one address,
   * the older one gets it.
   */
  readonly created: string;
  /** Errors in fields of the object, as text. Invalid fields count as absent. */
  readonly problems: readonly string[];
}

/** Returns the families in which a Service is served. */
export function familiesOf({ clusterIPs }: Service): Family[] {
  return clusterIPs.map(({ family }) => family);
}

/**
 * Selects the Services that this node's proxy serves. Excludes Services that name another proxy by any value of the
 * label, and Services that a controller marked as headless. kube-proxy lists Services and EndpointSlices by the same
 * selector.
 */
export const SERVICE_SELECTION: Selection = {
  labelSelector: "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless",
};

export const SERVICE_PARSER: ResourceParser<Service> = {
  resource: { group: "", version: "v1", plural: "services", kind: "Service", isNamespaced: true },
  parse({ metadata, spec: anySpec, status }) {
    const problems: string[] = [];
    const spec = objectOf(anySpec);
    const type = typeOf(spec.type, problems);
    return {
      type,
      clusterIPs: type === "ExternalName" ? [] : readClusterIPs(spec, problems),
      ports: flatMapCompact(listOf(spec.ports), (port, index) =>
        readPort(objectOf(port), `spec.ports[${index}]`, problems),
      ),
      externalIPs: addressesOf(spec.externalIPs, "spec.externalIPs", problems),
      loadBalancerIPs: readLoadBalancerIPs(objectOf(objectOf(status).loadBalancer), problems),
      sourceRanges: parseEach(
        spec.loadBalancerSourceRanges,
        "spec.loadBalancerSourceRanges",
        problems,
        parseSloppyPrefix,
      ),
      affinitySeconds: readAffinity(spec, problems),
      internalTrafficPolicy: policyOf(spec.internalTrafficPolicy, "spec.internalTrafficPolicy", problems),
      externalTrafficPolicy: policyOf(spec.externalTrafficPolicy, "spec.externalTrafficPolicy", problems),
      healthCheckNodePort: portOf(spec.healthCheckNodePort, "spec.healthCheckNodePort", problems),
      created: textOf((metadata as unknown as JsonObject).creationTimestamp) ?? "",
      problems: problems.length === 0 ? NO_PROBLEMS : problems,
    };
  },
};

const TYPES = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] as const;

function typeOf(value: unknown, problems: string[]): Service["type"] {
  const type = TYPES.find((one) => one === (value ?? "ClusterIP"));
  if (type === undefined)
    problems.push(`spec.type: ${JSON.stringify(value)} is not one of ${TYPES.join(", ")}: using ClusterIP`);
  return type ?? "ClusterIP";
}

/** `clusterIP` is the older, single field. A server sets both. */
function readClusterIPs({ clusterIP, clusterIPs }: JsonObject, problems: string[]): readonly Address[] {
  const texts = listOf(clusterIPs).length > 0 ? listOf(clusterIPs) : [clusterIP ?? ""];
  const given = texts.filter((text) => text !== "" && text !== "None");
  const addresses = addressesOf(given, "spec.clusterIPs", problems);
  return flatMapCompact(addresses, (address, index) => {
    const { family } = address;
    if (addresses.findIndex((other) => other.family === family) === index) return [address];
    problems.push(`spec.clusterIPs: more than one IPv${family} address: using only the first`);
    return [];
  });
}

function readPort(port: JsonObject, field: string, problems: string[]): ServicePort[] {
  const protocol = protocolOf(port.protocol, `${field}.protocol`, problems);
  const number = portOf(port.port, `${field}.port`, problems);
  const nodePort = portOf(port.nodePort, `${field}.nodePort`, problems);
  if (protocol === undefined || number === 0) return [];
  return [{ name: intern(textOf(port.name) ?? ""), protocol, port: number, nodePort }];
}

/**
 * Entries with only a hostname have no address. `ipMode: Proxy` means that packets must reach the load balancer itself.
 */
function readLoadBalancerIPs({ ingress }: JsonObject, problems: string[]): readonly Address[] {
  const texts = listOf(ingress)
    .map(objectOf)
    .filter(({ ip, ipMode }) => ip !== undefined && ip !== "" && ipMode !== "Proxy")
    .map(({ ip }) => ip);
  return addressesOf(texts, "status.loadBalancer.ingress[].ip", problems);
}

/** The API server's default (core/v1, `DefaultClientIPServiceAffinitySeconds`). */
const AFFINITY_DEFAULT_SECONDS = 10_800;
const AFFINITY_MAX_SECONDS = 86_400;

function readAffinity({ sessionAffinity, sessionAffinityConfig }: JsonObject, problems: string[]): number | undefined {
  if (sessionAffinity !== "ClientIP") return undefined;
  const seconds = objectOf(objectOf(sessionAffinityConfig).clientIP).timeoutSeconds ?? AFFINITY_DEFAULT_SECONDS;
  if (Number.isInteger(seconds) && Number(seconds) >= 1 && Number(seconds) <= AFFINITY_MAX_SECONDS) {
    return Number(seconds);
  }
  const field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
  problems.push(`${field}: ${JSON.stringify(seconds)} is not from 1 to ${AFFINITY_MAX_SECONDS}: using the default`);
  return AFFINITY_DEFAULT_SECONDS;
}

function policyOf(value: unknown, field: string, problems: string[]): TrafficPolicy {
  if (value === "Local") return "Local";
  const isKnown = value === undefined || value === null || value === "" || value === "Cluster";
  if (!isKnown) problems.push(`${field}: ${JSON.stringify(value)} is neither Cluster nor Local: using Cluster`);
  return "Cluster";
}
