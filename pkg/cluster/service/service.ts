/** What is kept of a Service (v1, core group), and its parser. */
import type { Address, Family } from "../../ip/address.ts";
import type { Prefix } from "../../ip/prefix.ts";

/** IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
export type Protocol = 6 | 17 | 132;

export interface ServicePort {
  /** Empty where a Service with a single port names none. EndpointSlices refer to a port by its name and protocol. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** 0: none. */
  readonly nodePort: number;
}

export type TrafficPolicy = "Cluster" | "Local";

export interface Service {
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** At most one of a family. Empty: headless or ExternalName, so nothing is programmed for it. */
  readonly clusterIPs: readonly Address[];
  readonly ports: readonly ServicePort[];
  readonly externalIPs: readonly Address[];
  /** `status.loadBalancer.ingress[].ip` whose `ipMode` is absent or VIP; the others need no rule on nodes. */
  readonly loadBalancerIPs: readonly Address[];
  readonly sourceRanges: readonly Prefix[];
  /** Of `sessionAffinity: ClientIP`, in seconds (1 to 86400); undefined: none. */
  readonly affinitySeconds: number | undefined;
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  /** 0: none. */
  readonly healthCheckNodePort: number;
  /** `metadata.creationTimestamp`, RFC 3339 in UTC, which compares as text. Of two claims of one address the older wins. */
  readonly created: string;
  /** What of the object could not be read, in words; those parts count as absent. */
  readonly problems: readonly string[];
}

/** The families that a Service is served in. */
export function familiesOf({ clusterIPs }: Service): Family[] {
  return clusterIPs.map(({ family }) => family);
}
