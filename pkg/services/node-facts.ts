/** The facts about this node that the core uses. */
import { type Address, isSameAddress } from "../ip/address.ts";
import { isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { isSameList } from "./same-frontend.ts";

export interface NodeFacts {
  readonly name: string;
  /** Label `topology.kubernetes.io/zone`. */
  readonly zone: string | undefined;
  /**
   * All addresses of this node. If a load balancer's source ranges cover one of them, the load balancer's own addresses
   * are allowed, too.
   */
  readonly addresses: readonly Address[];
  /** Addresses on which NodePorts answer. */
  readonly nodePortAddresses: readonly Address[];
  /**
   * Addresses and TCP ports of the API server. No Service may have them as a frontend, since it would intercept this
   * node's own connections to the API server. The exception is the ClusterIP of `default/kubernetes`, which leads to
   * the API server.
   */
  readonly reserved: readonly ReservedAddress[];
  /**
   * The `spec.externalIPs` that are served. It is a policy because any user may claim other addresses there
   * (CVE-2020-8554).
   */
  readonly externalIPs: "all" | "none" | readonly Prefix[];
}

export interface ReservedAddress {
  readonly address: Address;
  readonly port: number;
}

/** Lists in another order count as different facts, which only costs an unnecessary computation. */
export function isSameNode(a: NodeFacts | undefined, b: NodeFacts): boolean {
  return (
    a !== undefined &&
    a.name === b.name &&
    a.zone === b.zone &&
    isSameList(a.addresses, b.addresses, isSameAddress) &&
    isSameList(a.nodePortAddresses, b.nodePortAddresses, isSameAddress) &&
    isSameList(a.reserved, b.reserved, (x, y) => x.port === y.port && isSameAddress(x.address, y.address)) &&
    isSamePolicy(a.externalIPs, b.externalIPs)
  );
}

function isSamePolicy(a: NodeFacts["externalIPs"], b: NodeFacts["externalIPs"]): boolean {
  return typeof a === "string" || typeof b === "string" ? a === b : isSameList(a, b, isSamePrefix);
}
