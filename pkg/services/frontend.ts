/**
 * What every mode of Services programs: frontends. A frontend is one address, protocol and port on which this node answers
 * for a Service, with the endpoints that its connections may go to. The core (`service-map.ts`) makes frontends of Services,
 * EndpointSlices and the node; a mode (`nftables/`) carries differences between frontends into the kernel.
 */
import type { Protocol } from "../cluster/service/service.ts";
import { type Address, addressKey } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";

/** In the order of precedence where two Services claim the same address, protocol and port. */
export const FRONTEND_KINDS = ["ClusterIP", "NodePort", "LoadBalancerIP", "ExternalIP"] as const;
export type FrontendKind = (typeof FRONTEND_KINDS)[number];

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
  /** The endpoint runs on this node. */
  readonly isLocal: boolean;
}

/**
 * Which connections go where:
 * - `internal`: all to `endpoints`. Masqueraded where the source is no local pod (or `masqueradeAll`). ClusterIPs.
 * - `cluster`: all to `endpoints`, always masqueraded. External frontends of externalTrafficPolicy Cluster.
 * - `local`: from local pods to `endpoints`; from this node's own addresses to `endpoints`, masqueraded; all others to
 *   `localEndpoints` under their own source address. External frontends of externalTrafficPolicy Local.
 */
export type FrontendPolicy = "internal" | "cluster" | "local";

export interface Affinity {
  readonly seconds: number;
  /** The same for all frontends of one Service port, so that they share the clients' state: "namespace/name:port/protocol". */
  readonly key: string;
}

export interface Frontend {
  readonly kind: FrontendKind;
  readonly address: Address;
  readonly protocol: Protocol;
  readonly port: number;
  /** "namespace/name". */
  readonly service: string;
  readonly portName: string;
  /** The Service port's, also on frontends of other kinds. Left out: none. */
  readonly nodePort?: number | undefined;
  readonly policy: FrontendPolicy;
  /** Without duplicates, sorted by address and port. */
  readonly endpoints: readonly Endpoint[];
  /** Of policy `local`, else empty. */
  readonly localEndpoints: readonly Endpoint[];
  /**
   * All endpoints of the Service port that serve, terminating ones too, whether a policy or a hint chooses them here or not:
   * connections that lead to them are left alone. Left out: those of the two lists above.
   */
  readonly serving?: readonly Endpoint[];
  /**
   * What becomes of connections for which there is no endpoint in the list that they would go to. `reject`: no usable
   * endpoint exists anywhere; `drop`: only elsewhere, and the traffic policy is Local.
   */
  readonly withoutEndpoint: "reject" | "drop" | undefined;
  /** Sources that new connections may come from; they may overlap. Undefined: all. */
  readonly allowedSources: readonly Prefix[] | undefined;
  readonly affinity: Affinity | undefined;
}

/** Both undefined never. The same `frontendKey` on both sides. */
export interface FrontendChange {
  readonly before: Frontend | undefined;
  readonly after: Frontend | undefined;
}

/** What concerns the node as a whole. Changes are rare. */
export interface NodeSettings {
  /** Sources that count as this node's pods: its own podCIDRs, and attached pods outside of them. */
  readonly localPods: readonly Prefix[];
  /** All ServiceCIDRs: connections to addresses in them that no Service has are dropped. */
  readonly serviceRanges: readonly Prefix[];
  /** Every connection to a ClusterIP is masqueraded, whatever its source. */
  readonly masqueradeAll: boolean;
  /** Bit of the packet mark that asks for masquerading, 0 to 31 [14, as kube-proxy's]. */
  readonly masqueradeBit: number;
}

/** "10.96.0.1 6 80": what tells one frontend from all others. */
export function frontendKey({ address, protocol, port }: Pick<Frontend, "address" | "protocol" | "port">): string {
  return `${addressKey(address)} ${protocol} ${port}`;
}
