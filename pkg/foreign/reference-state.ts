/**
 * What the reference plugins (containernetworking/plugins 1.9) would hold in the kernel for an attachment that they had
 * made themselves: as data, whichever program writes it.
 */
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Attachment } from "../kernel/owner.ts";

export type ReferenceBackend = "iptables" | "nftables";

/** `ipMasq` of bridge and ptp. */
export interface ReferenceMasquerade {
  readonly part: "masquerade";
  readonly attachment: Attachment;
  readonly backend: ReferenceBackend;
  /** The pod's addresses with the lengths of their subnets. */
  readonly addresses: readonly Prefix[];
}

/** A port as the runtime asks for it. */
export interface ReferencePort {
  /** In lower case. */
  readonly protocol: string;
  readonly hostPort: number;
  readonly containerPort: number;
  /** Also 0.0.0.0 and ::, which restrict the port to their family. */
  readonly hostAddress: Address | undefined;
}

/** portmap. */
export interface ReferencePorts {
  readonly part: "portmap";
  readonly attachment: Attachment;
  readonly backend: ReferenceBackend;
  /** The pod's address with the length of its subnet: at most one of each family. */
  readonly addresses: readonly Prefix[];
  readonly ports: readonly ReferencePort[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  readonly markBit: number;
  /** Another program's chain of iptables that marks connections to be masqueraded. */
  readonly setMarkChain: string | undefined;
  /** In the words of `backend`. */
  readonly conditions: Readonly<Record<Family, readonly string[]>>;
}

/** `macspoofchk` of bridge. */
export interface ReferenceSpoofCheck {
  readonly part: "spoof-check";
  readonly attachment: Attachment;
  /** The host's end of the pod's cable. */
  readonly port: string;
  readonly mac: string;
}

/**
 * `ingressPolicy` of firewall. `same-bridge`: what comes from another bridge that has a policy too is dropped. `isolated`:
 * also what comes from the same bridge, where the kernel shows such traffic to IP filters (br_netfilter).
 */
export type BridgePolicy = "same-bridge" | "isolated";

/** firewall, in iptables' filter tables. */
export interface ReferenceFirewall {
  readonly part: "firewall";
  readonly attachment: Attachment;
  readonly addresses: readonly Address[];
  readonly adminChain: string;
  readonly policy: { readonly bridge: string; readonly kind: BridgePolicy } | undefined;
}

/** One plugin's state of one attachment. */
export type ReferenceState = ReferenceMasquerade | ReferencePorts | ReferenceSpoofCheck | ReferenceFirewall;
export type ReferencePart = ReferenceState["part"];

/** The ports that lead to an address of this family. */
export function portsOfFamily({ ports }: ReferencePorts, family: Family): ReferencePort[] {
  return ports.filter(({ hostAddress }) => hostAddress === undefined || hostAddress.family === family);
}

/** The one address of the node that the port is limited to. */
export function singleAddress({ hostAddress }: ReferencePort): Address | undefined {
  return hostAddress === undefined || hostAddress.value === 0n ? undefined : hostAddress;
}
