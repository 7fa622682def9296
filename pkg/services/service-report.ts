/** What becomes of one Service on this node, and why, for `weft services`: made when it is asked for. */
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
  /** Those that the Service has here. */
  readonly frontends: readonly Frontend[];
  /** Those that another Service has. */
  readonly lost: readonly LostClaim[];
  /** Those that no Service may have here. */
  readonly refused: readonly RefusedFrontend[];
  /** By port, then by address. */
  readonly endpoints: readonly EndpointReport[];
  /** What of the objects could not be read. */
  readonly problems: readonly string[];
}

export interface EndpointReport extends Endpoint {
  /** Of the Service's port. */
  readonly portName: string;
  readonly protocol: ServicePort["protocol"];
  readonly nodeName: string | undefined;
  /** "namespace/name" */
  readonly pod: string | undefined;
  /** New connections from some source may go to it. */
  readonly isUsed: boolean;
  /** "used", for which traffic if not for all, or why it is not used. */
  readonly verdict: string;
}

/** `lost` are those of the Service's frontends that other Services have. */
export function reportService(
  key: string,
  service: Service,
  slices: readonly EndpointSlice[],
  node: NodeFacts,
  lost: readonly LostClaim[],
): ServiceReport {
  const { frontends, refused } = frontendsOf(key, service, slices, node);
  const lostKeys = new Set(lost.map(({ frontend }) => frontendKey(frontend)));
  return {
    service: key,
    type: service.type,
    frontends: frontends.filter((frontend) => !lostKeys.has(frontendKey(frontend))),
    lost,
    refused,
    endpoints: service.clusterIPs.flatMap(({ family }) =>
      service.ports.flatMap((port) => {
        const ofPort = frontends.filter(({ address, portName, protocol }) => {
          return address.family === family && portName === port.name && protocol === port.protocol;
        });
        return reportEndpoints(port, mergeEndpoints(slices, family, port, node.name), ofPort, node);
      }),
    ),
    problems: [...service.problems, ...slices.flatMap(({ problems }) => problems ?? [])],
  };
}

function reportEndpoints(
  { name, protocol }: ServicePort,
  endpoints: readonly MergedEndpoint[],
  frontends: readonly Frontend[],
  node: NodeFacts,
): EndpointReport[] {
  const mode = topologyMode(
    endpoints.filter(({ endpoint }) => specialKind(endpoint.address) === undefined),
    node,
  );
  return endpoints.map((one) => {
    const uses = usesOf(one.endpoint, frontends);
    return {
      ...one.endpoint,
      portName: name,
      protocol,
      nodeName: one.source.nodeName,
      pod: one.source.pod,
      isUsed: uses !== undefined,
      verdict: uses ?? whyUnused(one, frontends, mode, node),
    };
  });
}

/** One way by which connections come, and the endpoints that they may go to. */
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

/** Which traffic goes to an endpoint, in words; undefined: none. */
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

function whyUnused(one: MergedEndpoint, frontends: readonly Frontend[], mode: TopologyMode, node: NodeFacts): string {
  const { endpoint, source } = one;
  const special = specialKind(endpoint.address);
  if (special !== undefined) return `refused: the address is ${special}`;
  if (!source.isReady) {
    if (isFallback(one)) return "terminating, while other endpoints are ready";
    return source.isTerminating ? "terminating" : "not ready";
  }
  if (frontends.length === 0) return "its port has no frontend here";
  if (!fitsTopology(one, mode, node)) {
    const hints = mode === "PreferSameNode" ? source.nodeHints : source.zoneHints;
    return `for ${mode === "PreferSameNode" ? "nodes" : "zones"} ${hints?.join(", ")} by its topology hints`;
  }
  return "on another node, and the traffic policy is Local";
}
