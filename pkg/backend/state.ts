/** What a backend makes of the peers: the same shape for all of them. */
import type { Address, Family } from "../ip/address.ts";
import type { DataPath } from "../kernel/data-path.ts";

/** A peer that cannot be served as it is, and why; the others are. */
export interface PeerProblem {
  readonly peer: string;
  readonly reason: string;
}

export interface DesiredState {
  readonly dataPath: DataPath;
  /** Of pods and bridge, in bytes. */
  readonly podMtu: number;
  /** Destinations that pods reach under their own address although they are no pods. */
  readonly unmasqueraded: readonly Address[];
  /** This node's VTEPs, by the family of their underlay; empty without VXLAN. */
  readonly vtepMacs: Partial<Readonly<Record<Family, string>>>;
  readonly problems: readonly PeerProblem[];
}
