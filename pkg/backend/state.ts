/** What a backend makes of the peers: the same shape for all of them. */
import type { Address, Family } from "../ip/address.ts";
import type { DataPath } from "../reconcile/data-path.ts";
import type { Tunnel } from "../tables/node-rules.ts";

/** Why a peer cannot be served: a word for metrics and Events, and what it means. */
export const PEER_TROUBLES = {
  OffLink: "a plain route needs the peer on this node's link, and it is elsewhere",
  NotAnnounced: "the peer has not announced yet what is needed to reach it",
  OtherBackend: "the peer's backend is none that this node can send by",
  SameAddress: "the peer is at this node's own address",
  SameMac: "the peer's VTEP has another node's hardware address",
  ForeignSubnet: "the peer's subnet lies outside the cluster's networks",
  OverlappingSubnet: "the peer's subnet overlaps another node's",
  Underlay: "this node's own underlay cannot carry a family of its pods",
} as const;

export type PeerTrouble = keyof typeof PEER_TROUBLES;

/** A peer that cannot be served as it is, and why; the others are. */
export interface PeerProblem {
  readonly peer: string;
  readonly trouble: PeerTrouble;
  readonly reason: string;
}

/** Which peer wants each entry of a `DataPath`: the peers' names, in the order of the entries. */
export interface EntryPeers {
  readonly routes: readonly string[];
  readonly neighbours: readonly string[];
  readonly forwarding: readonly string[];
}

export interface DesiredState {
  readonly dataPath: DataPath;
  readonly entryPeers: EntryPeers;
  /** Of pods and bridge, in bytes. */
  readonly podMtu: number;
  /** Destinations that pods reach under their own address although they are no pods. */
  readonly unmasqueraded: readonly Address[];
  /** What its backend announces of this node, in its own form, by the family of the underlay: VTEPs' MACs in vxlan. */
  readonly endpoints: Partial<Readonly<Record<Family, unknown>>>;
  /** What packets of peers look like that only nodes may send. */
  readonly tunnels: readonly Tunnel[];
  /** A peer's packets may come by another way than packets to it take: strict reverse path filtering drops them. */
  readonly isAsymmetric: boolean;
  readonly problems: readonly PeerProblem[];
}
