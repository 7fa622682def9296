/** Explains the state of one Service on this node, for `weft services`. Computed on demand. */
import type { EndpointSlice } from "../cluster/service/endpoint-slice.ts";
import type { Service, ServicePort } from "../cluster/service/service.ts";
import { isSameAddress } from "../ip/address.ts";
import type { LostClaim } from "./claims.ts";
import { fitsTopology, isFallback, type TopologyMode, topologyMode } from "./endpoint-choice.ts";
import { type Endpoint, type Frontend, frontendKey } from "./frontend.ts";
import { type MergedEndpoint, mergeEndpoints } from "./merged-endpoints.ts";
import type { NodeFacts } from "./node-facts.ts";
import { frontendsOf, type RefusedFrontend } from "./service-frontends.ts";
import { specialKind } from "./special-address.ts";

export interface ServiceReport {
  readonly service: string;
  readonly type: Service["type"];
  /** The frontends that the Service has on this node. */
  readonly frontends: readonly Frontend[];
  /** The frontends that another Service has. */
  readonly lost: readonly LostClaim[];
  /** The frontends that no Service may have on this node. */
  readonly refused: readonly RefusedFrontend[];
  /** Sorted by port, then by address. */
  readonly endpoints: readonly EndpointReport[];
  /** Parts of the objects that could not be parsed, and mismatches between them. */
  readonly problems: readonly string[];
}

export interface EndpointReport extends Endpoint {
  /** The name of the Service's port. */
  readonly portName: string;
  readonly protocol: ServicePort["protocol"];
  readonly nodeName: string | undefined;
  /** "namespace/name" */
  readonly pod: string | undefined;
  /** True if new connections from some source may go to it. */
  readonly isUsed: boolean;
  /** "used", with the kind of traffic if not all, or the reason why it is not used. */
  readonly verdict: string;
}

/** The state of one port in one family. */
interface PortView {
  readonly service: Service;
  readonly node: NodeFacts;
  readonly endpoints: readonly MergedEndpoint[];
  readonly frontends: readonly Frontend[];
  readonly mode: TopologyMode;
}

/** `lost` are the Service's frontends that other Services have. */
export function reportService(
  key: string,
  service: Service,
  slices: readonly EndpointSlice[],
  node: NodeFacts,
  lost: readonly LostClaim[],
): ServiceReport {
  const { frontends, refused } = frontendsOf(key, service, slices, node);
  const lostKeys = new Set(lost.map(({ frontend }) => frontendKey(frontend)));
  const kept = frontends.filter((frontend) => !lostKeys.has(frontendKey(frontend)));
  return {
    service: key,
    type: service.type,
    frontends: kept,
    lost,
    refused,
    endpoints: service.clusterIPs.flatMap(({ family }) =>
      service.ports.flatMap((port) => {
        const endpoints = mergeEndpoints(slices, family, port, node.name);
        const accepted = endpoints.filter(({ endpoint }) => specialKind(endpoint.address) === undefined);
        const ofPort = kept.filter(({ address, portName, protocol }) => {
          return address.family === family && portName === port.name && protocol === port.protocol;
        });
        return reportEndpoints(
          { service, node, endpoints, frontends: ofPort, mode: topologyMode(accepted, node) },
          port,
        );
      }),
    ),
    problems: [
      ...service.problems,
      ...slices.flatMap(({ problems }) => problems ?? []),
      ...mismatches(service, slices),
    ],
  };
}

/**
 * The two mismatches that leave a Service without endpoints although there are some: another port name, another family.
 */
function mismatches({ clusterIPs, ports }: Service, slices: readonly EndpointSlice[]): string[] {
  if (clusterIPs.length === 0 || slices.length === 0) return [];
  const unnamed = ports.filter(({ name, protocol }) => {
    return !slices.some((slice) => slice.ports.some((port) => port.name === name && port.protocol === protocol));
  });
  const families = new Set(slices.flatMap(({ family, endpoints }) => (endpoints.length > 0 ? [family] : [])));
  const unserved = [...families].filter((family) => clusterIPs.every((clusterIP) => clusterIP.family !== family));
  return [
    ...unnamed.map(({ name }) => `port "${name}": no EndpointSlice has a port of this name and protocol`),
    ...unserved.map((family) => `the Service has IPv${family} endpoints but no IPv${family} ClusterIP`),
  ];
}

function reportEndpoints(view: PortView, { name, protocol }: ServicePort): EndpointReport[] {
  return view.endpoints.map((one) => {
    const uses = usesOf(one.endpoint, view.frontends);
    return {
      ...one.endpoint,
      portName: name,
      protocol,
      nodeName: one.source.nodeName,
      pod: one.source.pod,
      isUsed: uses !== undefined,
      verdict: uses ?? whyUnused(one, view),
    };
  });
}

/** One kind of connections, and the endpoints that they may go to. */
interface Path {
  readonly words: string;
  readonly endpoints: readonly Endpoint[];
}

function pathsOf({ policy, endpoints, localEndpoints }: Frontend): Path[] {
  if (policy === "internal") return [{ words: "the ClusterIP", endpoints }];
  if (policy === "cluster") return [{ words: "external traffic", endpoints }];
  return [
    { words: "external traffic", endpoints: localEndpoints },
    { words: "external traffic from this node and its pods", endpoints },
  ];
}

/** The kinds of traffic that use an endpoint, as text; undefined if none. */
function usesOf(endpoint: Endpoint, frontends: readonly Frontend[]): string | undefined {
  const paths = frontends.flatMap(pathsOf);
  const isUsedBy = ({ endpoints }: Path) => endpoints.some((one) => isSameTarget(one, endpoint));
  const used = new Set(paths.filter(isUsedBy).map(({ words }) => words));
  if (used.size === 0) return undefined;
  return paths.every(({ words }) => used.has(words)) ? "used" : `used by ${[...used].join(" and ")} only`;
}

function isSameTarget(a: Endpoint, b: Endpoint): boolean {
  return isSameAddress(a.address, b.address) && a.port === b.port;
}

function whyUnused(one: MergedEndpoint, { service, frontends, mode, node }: PortView): string {
  const { endpoint, source } = one;
  const special = specialKind(endpoint.address);
  if (special !== undefined) return `refused: the address is ${special}`;
  if (!source.isReady) {
    if (isFallback(one)) return "terminating, while other endpoints are ready";
    return source.isTerminating ? "terminating" : "not ready";
  }
  if (frontends.length === 0) return "its port has no frontend on this node";
  const isForLocal =
    service.internalTrafficPolicy === "Local" && frontends.every(({ policy }) => policy === "internal");
  if (!isForLocal && !fitsTopology(one, mode, node)) {
    const hints = mode === "PreferSameNode" ? source.nodeHints : source.zoneHints;
    return `its topology hints are for ${mode === "PreferSameNode" ? "nodes" : "zones"} ${hints?.join(", ")}`;
  }
  return "on another node, and the traffic policy is Local";
}
