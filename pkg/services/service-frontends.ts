/**
 * The frontends that one Service requests on this node, with their endpoints, before the claims of other Services are
 * considered. The rules are those of kube-proxy (Kubernetes 1.36): matching of endpoints, traffic policies, source
 * ranges, session affinity.
 */
import type { EndpointSlice } from "../cluster/service/endpoint-slice.ts";
import type { Service, ServicePort } from "../cluster/service/service.ts";
import { type Address, addressBits, compareAddresses, type Family, isSameAddress } from "../ip/address.ts";
import { contains, isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { chooseEndpoints, type EndpointChoice } from "./endpoint-choice.ts";
import { FRONTEND_KINDS, type Frontend, type FrontendKind, frontendKey } from "./frontend.ts";
import { mergeEndpoints } from "./merged-endpoints.ts";
import type { NodeFacts } from "./node-facts.ts";
import { specialKind } from "./special-address.ts";

export interface ServiceFrontends {
  /** At most one for each `frontendKey`. */
  readonly frontends: readonly Frontend[];
  /** Frontends that the Service requests and that are refused independently of other Services. */
  readonly refused: readonly RefusedFrontend[];
  readonly counts: ServiceCounts;
}

export interface ServiceCounts {
  /** Services with a ClusterIP. */
  readonly services: number;
  /** Endpoints of all ports, usable or not. */
  readonly endpoints: number;
  /** Ports of traffic policy Local, for internal or external traffic, whose usable endpoints are all on other nodes. */
  readonly withoutLocalInternal: PerFamily;
  readonly withoutLocalExternal: PerFamily;
}

export type PerFamily = Readonly<Record<Family, number>>;

export interface RefusedFrontend {
  readonly kind: FrontendKind;
  readonly address: Address;
  readonly protocol: ServicePort["protocol"];
  readonly port: number;
  /** The reason for the refusal, as text. */
  readonly reason: string;
}

/** An address and port that the Service requests. */
type RequestedFrontend = Omit<RefusedFrontend, "reason">;

/** The API server's own Service, whose ClusterIP leads to the API server. */
const API_SERVER_SERVICE = "default/kubernetes";
const IPPROTO_TCP = 6;

/** `key` is the Service's "namespace/name"; `slices` are all its EndpointSlices. */
export function frontendsOf(
  key: string,
  service: Service,
  slices: readonly EndpointSlice[],
  node: NodeFacts,
): ServiceFrontends {
  const frontends = new Map<string, Frontend>();
  const refused: RefusedFrontend[] = [];
  const services = service.clusterIPs.length === 0 ? 0 : 1;
  const counts = { services, endpoints: 0, withoutLocalInternal: { 4: 0, 6: 0 }, withoutLocalExternal: { 4: 0, 6: 0 } };
  for (const { family } of service.clusterIPs) {
    const sources = allowedSources(service, family, node);
    for (const port of service.ports) {
      const requested = requestedFrontends(service, port, family, node).filter((wanted) => {
        const reason = refusal(key, wanted, node);
        if (reason !== undefined) refused.push({ ...wanted, reason });
        return reason === undefined;
      });
      const isExternal = requested.some(({ kind }) => kind !== "ClusterIP");
      const endpoints = mergeEndpoints(slices, family, port, node.name);
      const choice = chooseEndpoints(
        endpoints.filter(({ endpoint }) => specialKind(endpoint.address) === undefined),
        { internal: service.internalTrafficPolicy, external: isExternal ? service.externalTrafficPolicy : undefined },
        node,
      );
      counts.endpoints += endpoints.length;
      const lacksLocal = choice.hasAny && choice.local.length === 0;
      if (lacksLocal && service.internalTrafficPolicy === "Local") counts.withoutLocalInternal[family]++;
      if (lacksLocal && service.externalTrafficPolicy === "Local" && isExternal) counts.withoutLocalExternal[family]++;
      for (const wanted of requested) {
        const rival = frontends.get(frontendKey(wanted));
        if (rival !== undefined && rank(rival.kind) <= rank(wanted.kind)) continue;
        frontends.set(frontendKey(wanted), makeFrontend(key, service, port, wanted, choice, sources));
      }
    }
  }
  refused.push(...otherFamilies(service));
  return { frontends: [...frontends.values()], refused, counts };
}

/** A lower rank has precedence. */
export function rank(kind: FrontendKind): number {
  return FRONTEND_KINDS.indexOf(kind);
}

function requestedFrontends(service: Service, port: ServicePort, family: Family, node: NodeFacts): RequestedFrontend[] {
  const { protocol, nodePort } = port;
  const requested = (kind: FrontendKind, addresses: readonly Address[], number: number): RequestedFrontend[] =>
    addresses
      .filter((address) => address.family === family)
      .map((address) => ({ kind, address, protocol, port: number }));
  return [
    ...requested("ClusterIP", service.clusterIPs, port.port),
    ...requested("NodePort", nodePort === 0 ? [] : node.nodePortAddresses, nodePort),
    ...requested("LoadBalancerIP", service.loadBalancerIPs, port.port),
    ...requested("ExternalIP", service.externalIPs, port.port),
  ];
}

/** A Service is served in the families of its ClusterIPs. Its addresses of another family are refused. */
function otherFamilies({ clusterIPs, loadBalancerIPs, externalIPs, ports }: Service): RefusedFrontend[] {
  const isServed = ({ family }: Address) => clusterIPs.some((clusterIP) => clusterIP.family === family);
  const refuse = (kind: FrontendKind, address: Address): RefusedFrontend[] =>
    ports.map(({ protocol, port }) => {
      return { kind, address, protocol, port, reason: `the Service has no IPv${address.family} ClusterIP` };
    });
  return [
    ...loadBalancerIPs.filter((address) => !isServed(address)).flatMap((address) => refuse("LoadBalancerIP", address)),
    ...externalIPs.filter((address) => !isServed(address)).flatMap((address) => refuse("ExternalIP", address)),
  ];
}

function refusal(
  key: string,
  { kind, address, protocol, port }: RequestedFrontend,
  node: NodeFacts,
): string | undefined {
  const special = kind === "NodePort" ? undefined : specialKind(address);
  if (special !== undefined) return `the address is ${special}`;
  const isReserved =
    protocol === IPPROTO_TCP &&
    node.reserved.some((reserved) => reserved.port === port && isSameAddress(reserved.address, address));
  if (isReserved && !(key === API_SERVER_SERVICE && kind === "ClusterIP"))
    return "the API server uses this address and port";
  if (kind !== "ExternalIP" || node.externalIPs === "all") return undefined;
  if (node.externalIPs === "none") return "externalIPs are disabled (--external-ips=none)";
  if (node.externalIPs.some((prefix) => contains(prefix, address))) return undefined;
  return "the address is outside the ranges of --external-ips";
}

function makeFrontend(
  key: string,
  service: Service,
  port: ServicePort,
  wanted: RequestedFrontend,
  choice: EndpointChoice,
  sources: readonly Prefix[] | undefined,
): Frontend {
  const isExternal = wanted.kind !== "ClusterIP";
  const policy = isExternal ? service.externalTrafficPolicy : service.internalTrafficPolicy;
  const decisive = policy === "Local" ? choice.local : choice.cluster;
  return {
    ...wanted,
    service: key,
    portName: port.name,
    nodePort: port.nodePort === 0 ? undefined : port.nodePort,
    policy: !isExternal ? "internal" : policy === "Local" ? "local" : "cluster",
    endpoints: isExternal ? choice.cluster : decisive,
    localEndpoints: isExternal && policy === "Local" ? choice.local : NONE,
    serving: choice.serving,
    withoutEndpoint: decisive.length > 0 ? undefined : choice.hasAny ? "drop" : "reject",
    allowedSources: wanted.kind === "LoadBalancerIP" ? sources : undefined,
    affinity:
      service.affinitySeconds === undefined
        ? undefined
        : { seconds: service.affinitySeconds, key: `${key}:${port.port}/${port.protocol}` },
  };
}

const NONE: Frontend["localEndpoints"] = [];

/**
 * The source ranges of the family; undefined if it has none, even if there are ranges of the other family. If they
 * cover this node, the load balancer's addresses are allowed, too: if such an address is bound to an interface of this
 * node, the kernel chooses it as the source.
 */
function allowedSources(service: Service, family: Family, { addresses }: NodeFacts): readonly Prefix[] | undefined {
  const ranges = service.sourceRanges.filter(({ address }) => address.family === family);
  if (ranges.length === 0) return undefined;
  const coversNode = addresses.some((address) => ranges.some((range) => contains(range, address)));
  const own = coversNode ? service.loadBalancerIPs.filter((address) => address.family === family) : [];
  return sorted([...ranges, ...own.map((address) => ({ address, length: addressBits(family) }))]);
}

/** Sorted, without duplicates. */
function sorted(prefixes: readonly Prefix[]): Prefix[] {
  return [...prefixes]
    .sort((a, b) => compareAddresses(a.address, b.address) || a.length - b.length)
    .filter((prefix, index, all) => index === 0 || !isSamePrefix(prefix, all[index - 1] as Prefix));
}
