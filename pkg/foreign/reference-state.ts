/**
 * The state that the reference plugins (containernetworking/plugins 1.9) would have in the kernel for an attachment if
 * they had made it: plain data, for any program that writes it.
 */
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Attachment } from "../kernel/owner.ts";

export type ReferenceBackend = "iptables" | "nftables";

/** State of `ipMasq` of bridge and ptp. */
export interface ReferenceMasquerade {
  readonly part: "masquerade";
  readonly attachment: Attachment;
  readonly backend: ReferenceBackend;
  /** The pod's addresses with the prefix lengths of their subnets. */
  readonly addresses: readonly Prefix[];
}

/** A port as the runtime requests it. */
export interface ReferencePort {
  /** In lower case. */
  readonly protocol: string;
  readonly hostPort: number;
  readonly containerPort: number;
  /** 0.0.0.0 and :: restrict the port to their family. */
  readonly hostAddress: Address | undefined;
}

/** State of portmap. */
export interface ReferencePorts {
  readonly part: "portmap";
  readonly attachment: Attachment;
  readonly backend: ReferenceBackend;
  /** The pod's address with the prefix length of its subnet, at most one for each family. */
  readonly addresses: readonly Prefix[];
  readonly ports: readonly ReferencePort[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  readonly markBit: number;
  /** Another program's iptables chain that marks connections for masquerading. */
  readonly setMarkChain: string | undefined;
  /** In the syntax of `backend`. */
  readonly conditions: Readonly<Record<Family, readonly string[]>>;
}

/** State of `macspoofchk` of bridge. */
export interface ReferenceSpoofCheck {
  readonly part: "spoof-check";
  readonly attachment: Attachment;
  /** The host's end of the pod's veth pair. */
  readonly port: string;
  readonly mac: string;
}

/**
 * `ingressPolicy` of firewall. `same-bridge` drops packets from other bridges with a policy. `isolated` also drops
 * packets from the same bridge, if the kernel passes such traffic to IP filters (br_netfilter).
 */
export type BridgePolicy = "same-bridge" | "isolated";

/** State of firewall in iptables' filter tables. */
export interface ReferenceFirewall {
  readonly part: "firewall";
  readonly attachment: Attachment;
  readonly addresses: readonly Address[];
  readonly adminChain: string;
  readonly policy: { readonly bridge: string; readonly kind: BridgePolicy } | undefined;
}

/** The state of one plugin for one attachment. */
export type ReferenceState = ReferenceMasquerade | ReferencePorts | ReferenceSpoofCheck | ReferenceFirewall;
export type ReferencePart = ReferenceState["part"];

/** Returns the ports that apply to addresses of this family. */
export function portsOfFamily({ ports }: ReferencePorts, family: Family): ReferencePort[] {
  return ports.filter(({ hostAddress }) => hostAddress === undefined || hostAddress.family === family);
}

/** Returns the only address of the node to which the port is limited. Undefined if it is not limited. */
export function singleAddress({ hostAddress }: ReferencePort): Address | undefined {
  return hostAddress === undefined || hostAddress.value === 0n ? undefined : hostAddress;
}
