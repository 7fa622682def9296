/**
 * Frontends: the input of every Services mode. A frontend is one address, protocol and port on which this node answers
 * for a Service, together with the endpoints that its connections may go to. The core (`service-map.ts`) computes
 * frontends from Services, EndpointSlices and the node. A mode (`nftables/`) programs differences between frontends
 * into the kernel.
 */
import type { Protocol } from "../cluster/service/service.ts";
import { type Address, addressKey } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";

/** In order of precedence if two Services claim the same address, protocol and port. */
export const FRONTEND_KINDS = ["ClusterIP", "NodePort", "LoadBalancerIP", "ExternalIP"] as const;
export type FrontendKind = (typeof FRONTEND_KINDS)[number];

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
  /** True if the endpoint runs on this node. */
  readonly isLocal: boolean;
}

/**
 * The endpoints of connections, and their masquerading:
 * - `internal`: all connections go to `endpoints`. They are masqueraded if the source is not a local pod (or with
 *   `masqueradeAll`). For ClusterIPs.
 * - `cluster`: all connections go to `endpoints` and are masqueraded. For external frontends of externalTrafficPolicy
 *   Cluster.
 * - `local`: connections from local pods go to `endpoints`; those from this node's own addresses go to `endpoints`,
 *   masqueraded; all others go to `localEndpoints` and keep their source address. For external frontends of
 *   externalTrafficPolicy Local.
 */
export type FrontendPolicy = "internal" | "cluster" | "local";

export interface Affinity {
  readonly seconds: number;
  /**
   * Equal for all frontends of one Service port, so that they share the clients' state: "namespace/name:port/protocol".
   */
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
  /** The NodePort of the Service port, also on frontends of other kinds. Omitted if it has none. */
  readonly nodePort?: number | undefined;
  readonly policy: FrontendPolicy;
  /** Without duplicates, sorted by address and port. */
  readonly endpoints: readonly Endpoint[];
  /** For policy `local`; otherwise empty. */
  readonly localEndpoints: readonly Endpoint[];
  /**
   * All serving endpoints of the Service port, including terminating ones, even if no policy or hint selects them on
   * this node. Established connections to them stay. If omitted, those of the two lists above.
   */
  readonly serving?: readonly Endpoint[];
  /**
   * The verdict for connections whose list has no endpoint. `reject`: there is no usable endpoint on any node. `drop`:
   * there are usable endpoints on other nodes only, and the traffic policy is Local.
   */
  readonly withoutEndpoint: "reject" | "drop" | undefined;
  /** The allowed sources of new connections; ranges may overlap. Undefined: all. */
  readonly allowedSources: readonly Prefix[] | undefined;
  readonly affinity: Affinity | undefined;
}

/** At least one of both is defined. Both have the same `frontendKey`. */
export interface FrontendChange {
  readonly before: Frontend | undefined;
  readonly after: Frontend | undefined;
}

/** Settings of the node that apply to all frontends. They rarely change. */
export interface NodeSettings {
  /** The sources of this node's pods: its own podCIDRs, and attached pods outside them. */
  readonly localPods: readonly Prefix[];
  /** All ServiceCIDRs. Connections to addresses in them that no Service has are dropped. */
  readonly serviceRanges: readonly Prefix[];
  /** Masquerade every connection to a ClusterIP, whatever its source. */
  readonly masqueradeAll: boolean;
  /** The bit of the packet mark that requests masquerading, 0 to 31. [14, as in kube-proxy] */
  readonly masqueradeBit: number;
}

/** Identifies a frontend: "10.96.0.1 6 80". */
export function frontendKey({ address, protocol, port }: Pick<Frontend, "address" | "protocol" | "port">): string {
  return `${addressKey(address)} ${protocol} ${port}`;
}
