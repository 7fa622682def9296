/** What the core knows of this node. */
import { type Address, isSameAddress } from "../ip/address.ts";
import { isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { isSameList } from "./same-frontend.ts";

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

/** Lists in another order are other facts, which costs a computation in vain. */
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
