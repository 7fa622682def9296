/**
 * This node and its peers as the data path needs them: whoever provides them (the API server, a file, a plugin's
 * configuration) has already judged what they claim.
 */
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";

/** The interface that carries traffic between nodes. */
export interface Underlay {
  readonly index: number;
  readonly mtu: number;
  /** The source of our packets to other nodes, by family. */
  readonly local: Partial<Readonly<Record<Family, Address>>>;
  /** The interface's addresses: a peer within one of their networks is on the link. */
  readonly networks: readonly Prefix[];
}

export interface LocalNode {
  readonly name: string;
  readonly subnets: readonly Prefix[];
  readonly underlay: Underlay;
}

export interface Peer {
  readonly name: string;
  readonly subnets: readonly Prefix[];
  /** Where the peer is reached, by family: its first address of each. */
  readonly addresses: readonly Address[];
  /** As announced: "vxlan", "host-gw"; undefined while it has announced nothing. */
  readonly backendType: string | undefined;
  /** The VNI and the UDP port that it takes VXLAN packets by; undefined: by the cluster's. */
  readonly vni?: number | undefined;
  readonly port?: number | undefined;
  /** The hardware addresses of its VTEPs, by the family of the underlay they use. */
  readonly vtepMacs: Partial<Readonly<Record<Family, string>>>;
}
