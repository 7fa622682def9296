/** What a backend makes of the peers: the same shape for all of them. */
import type { Address, Family } from "../ip/address.ts";
import type { DataPath } from "../kernel/data-path.ts";

/** Why a peer cannot be served: a word for metrics and Events. */
export type PeerTrouble =
  /** A plain route needs it on this node's link, and it is elsewhere. */
  | "OffLink"
  /** It has not announced yet what is needed to reach it. */
  | "NotAnnounced"
  /** Its backend is none that this node can send by. */
  | "OtherBackend"
  /** It is at this node's own address. */
  | "SameAddress"
  /** Its VTEP has another node's hardware address. */
  | "SameMac"
  /** Its subnet lies outside the cluster's networks. */
  | "ForeignSubnet"
  /** Its subnet overlaps another node's. */
  | "OverlappingSubnet"
  /** This node's own underlay cannot carry a family of its pods. */
  | "Underlay";

/** A peer that cannot be served as it is, and why; the others are. */
export interface PeerProblem {
  readonly peer: string;
  readonly trouble: PeerTrouble;
  readonly reason: string;
}

export interface DesiredState {
  readonly dataPath: DataPath;
  /** Of pods and bridge, in bytes. */
  readonly podMtu: number;
  /** Destinations that pods reach under their own address although they are no pods. */
  readonly unmasqueraded: readonly Address[];
  /** The VTEPs that this node announces, by the family of their underlay; empty without VXLAN. */
  readonly vtepMacs: Partial<Readonly<Record<Family, string>>>;
  /** A peer's packets may come by another way than packets to it take: strict reverse path filtering drops them. */
  readonly isAsymmetric: boolean;
  readonly problems: readonly PeerProblem[];
}
