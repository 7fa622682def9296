/**
 * This node and its peers as the data path needs them. The provider (API server, nodes file, a plugin's configuration)
 * has already validated what they claim.
 */
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";

/** The interface that carries traffic between nodes. */
export interface Underlay {
  readonly index: number;
  readonly mtu: number;
  /** The source address of this node's packets to other nodes, by family. */
  readonly local: Partial<Readonly<Record<Family, Address>>>;
  /** The interface's addresses. A peer within one of their networks is on the link. */
  readonly networks: readonly Prefix[];
}

export interface LocalNode {
  readonly name: string;
  readonly subnets: readonly Prefix[];
  readonly underlay: Underlay;
}

/** The common data of each peer. Backends add data to peers that announce them. */
export interface Peer {
  readonly name: string;
  readonly subnets: readonly Prefix[];
  /** The peer's addresses; the first one of each family is used to reach it. */
  readonly addresses: readonly Address[];
  /** The announced backend: "vxlan", "host-gw". Undefined if the peer has announced none yet. */
  readonly backendType: string | undefined;
}
