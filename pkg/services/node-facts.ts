/** What the core knows of this node. */
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";

export interface NodeFacts {
  readonly name: string;
  /** Label `topology.kubernetes.io/zone`. */
  readonly zone: string | undefined;
  /** All addresses of this node. Where source ranges of a load balancer cover one of them, its own addresses may connect. */
  readonly addresses: readonly Address[];
  /** Addresses on which NodePorts answer. */
  readonly nodePortAddresses: readonly Address[];
  /**
   * Addresses and TCP ports of the API server. No Service may have one as a frontend, or it would take over this node's
   * own way to the API server; but for the ClusterIP of `default/kubernetes`, which leads there.
   */
  readonly reserved: readonly ReservedAddress[];
  /** Which `spec.externalIPs` are served: any user may write others' addresses there (CVE-2020-8554). */
  readonly externalIPs: "all" | "none" | readonly Prefix[];
}

export interface ReservedAddress {
  readonly address: Address;
  readonly port: number;
}
