/**
 * Chooses the endpoints of a Service port for new connections, by readiness, topology hints and traffic policies. The
 * rules are those of kube-proxy's `CategorizeEndpoints` (Kubernetes 1.36, pkg/proxy/topology.go).
 */
import type { TrafficPolicy } from "../cluster/service/service.ts";
import type { Endpoint } from "./frontend.ts";
import type { MergedEndpoint } from "./merged-endpoints.ts";
import type { NodeFacts } from "./node-facts.ts";

/** The kind of EndpointSlice hints that select the ready endpoints for this node; undefined: no selection. */
export type TopologyMode = "PreferSameNode" | "PreferSameZone" | undefined;

type Topology = Pick<NodeFacts, "name" | "zone">;

export interface EndpointChoice {
  /** For traffic of policy Cluster, and for pods and addresses of this node. Empty if the port has no such traffic. */
  readonly cluster: readonly Endpoint[];
  /** For traffic of policy Local. Empty if the port has no such traffic. */
  readonly local: readonly Endpoint[];
  /**
   * All serving endpoints, including terminating ones, whatever policies and hints select. Established connections to
   * them stay.
   */
  readonly serving: readonly Endpoint[];
  /** True if an endpoint is usable, on this node or another. */
  readonly hasAny: boolean;
}

export interface ChoicePolicies {
  readonly internal: TrafficPolicy;
  /** Undefined if the port has no external frontend. */
  readonly external: TrafficPolicy | undefined;
}

export function chooseEndpoints(
  endpoints: readonly MergedEndpoint[],
  { internal, external }: ChoicePolicies,
  node: Topology,
): EndpointChoice {
  // External traffic of policy Local also needs the cluster list, for this node's own pods and addresses.
  const usesCluster = internal === "Cluster" || external !== undefined;
  const usesLocal = internal === "Local" || external === "Local";
  const mode = topologyMode(endpoints, node);
  const cluster = usesCluster ? preferred(endpoints, (one) => fitsTopology(one, mode, node)) : [];
  const serving = endpoints.filter(({ source }) => source.isReady || source.isServing);
  return {
    cluster,
    local: usesLocal ? preferred(endpoints.filter(({ endpoint }) => endpoint.isLocal)) : [],
    // Usually both lists are equal, so they share one array.
    serving: serving.length === cluster.length ? cluster : serving.map(({ endpoint }) => endpoint),
    hasAny: endpoints.some((one) => one.source.isReady || isFallback(one)),
  };
}

/** The ready endpoints that fit; if there are none, all that are terminating and still serve. */
function preferred(endpoints: readonly MergedEndpoint[], fits = (_: MergedEndpoint) => true): readonly Endpoint[] {
  const ready = endpoints.filter((one) => one.source.isReady && fits(one));
  return (ready.length > 0 ? ready : endpoints.filter(isFallback)).map(({ endpoint }) => endpoint);
}

export function isFallback({ source }: MergedEndpoint): boolean {
  return source.isServing && source.isTerminating;
}

/**
 * The hints apply only if every ready endpoint has one, and one of them is for this node or its zone. Otherwise the
 * controller that writes them has not finished, or has omitted this node, and connections would find no endpoint.
 */
export function topologyMode(endpoints: readonly MergedEndpoint[], { name, zone }: Topology): TopologyMode {
  const ready = endpoints.filter(({ source }) => source.isReady);
  const areHintsFor = (hintsOf: (one: MergedEndpoint) => readonly string[] | undefined, wanted: string | undefined) =>
    wanted !== undefined &&
    ready.every((one) => hintsOf(one) !== undefined) &&
    ready.some((one) => hintsOf(one)?.includes(wanted));
  if (areHintsFor(({ source }) => source.nodeHints, name)) return "PreferSameNode";
  if (areHintsFor(({ source }) => source.zoneHints, zone)) return "PreferSameZone";
  return undefined;
}

export function fitsTopology({ source }: MergedEndpoint, mode: TopologyMode, { name, zone }: Topology): boolean {
  if (mode === "PreferSameNode") return source.nodeHints?.includes(name) === true;
  if (mode === "PreferSameZone") return zone !== undefined && source.zoneHints?.includes(zone) === true;
  return true;
}
