/** The result that backends compute from the peers, in the same form for all backends. */
import type { Address, Family } from "../ip/address.ts";
import type { DataPath, PeerForwarding, PeerNeighbour, PeerRoute } from "../reconcile/data-path.ts";
import type { Tunnel } from "../tables/node-rules.ts";

/** The reasons why a peer cannot be served: a word for metrics and Events, and its meaning. */
export const PEER_TROUBLES = {
  OffLink: "a plain route needs the peer on this node's link, but the peer is on another link",
  NotAnnounced: "the peer has not announced yet the data that is needed to reach it",
  OtherBackend: "this node does not support the peer's backend",
  SameAddress: "the peer has this node's own address",
  SameMac: "the peer's VTEP has the hardware address of another node's VTEP",
  ForeignSubnet: "the peer's subnet is outside the cluster's networks",
  OverlappingSubnet: "the peer's subnet overlaps another node's",
  Underlay: "this node's own underlay cannot carry a family of its pods",
} as const;

export type PeerTrouble = keyof typeof PEER_TROUBLES;

/** A peer that cannot be served completely, and the reason. Other peers are served. */
export interface PeerProblem {
  readonly peer: string;
  readonly trouble: PeerTrouble;
  readonly reason: string;
}

/** The desired kernel entries for one peer. Undefined lists are empty. */
export interface PeerEntries {
  readonly peer: string;
  readonly routes?: readonly PeerRoute[];
  readonly neighbours?: readonly PeerNeighbour[];
  readonly forwarding?: readonly PeerForwarding[];
}

/**
 * Entries for single peers: a group of plain routes, then a group for each backend. Peers have the same order in all
 * groups.
 */
export type EntryGroups = readonly (readonly PeerEntries[])[];

export interface DesiredState {
  readonly dataPath: DataPath;
  /** The entries of `dataPath` by peer, in the same order. */
  readonly entries: EntryGroups;
  /** The MTU of pods and bridge, in bytes. */
  readonly podMtu: number;
  /** Destinations, other than pods, to which pods' packets are not masqueraded. */
  readonly unmasqueraded: readonly Address[];
  /**
   * This node's data for its backend's announcement, in the backend's format, by family of the underlay: in vxlan, the
   * VTEPs' MACs.
   */
  readonly endpoints: Partial<Readonly<Record<Family, unknown>>>;
  /** The properties of peers' packets that only nodes may send. */
  readonly tunnels: readonly Tunnel[];
  /**
   * True if a peer's packets may arrive by another path than packets to it take. Strict reverse path filtering drops
   * them.
   */
  readonly isAsymmetric: boolean;
  /** In the order of the peers' names. */
  readonly problems: readonly PeerProblem[];
}
