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

/** What is known of each peer; backends know more of those that announce them. */
export interface Peer {
  readonly name: string;
  readonly subnets: readonly Prefix[];
  /** Where the peer is reached, by family: its first address of each. */
  readonly addresses: readonly Address[];
  /** As announced: "vxlan", "host-gw"; undefined while it has announced nothing. */
  readonly backendType: string | undefined;
}
