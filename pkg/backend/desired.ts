/**
 * From the configuration and the peers to what the kernel should hold. One function for each backend; what they have in
 * common stands here.
 */
import type { Address, Family } from "../ip/address.ts";
import type { DataPath } from "../kernel/data-path.ts";
import { admitPeers } from "./admission.ts";
import { hostGwState } from "./host-gw.ts";
import type { NetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import { vxlanState } from "./vxlan.ts";

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

/**
 * `currentMacs` are the hardware addresses of VTEP devices that exist, by name: a device keeps the one it has, since
 * peers know it already.
 */
export function desiredState(
  { networks, backend }: NetConf,
  node: LocalNode,
  peers: readonly Peer[],
  currentMacs: ReadonlyMap<string, string>,
): DesiredState {
  const admitted = admitPeers(networks, node, peers);
  const state =
    backend.type === "vxlan"
      ? vxlanState(backend, node, admitted.peers, currentMacs)
      : hostGwState(node, admitted.peers);
  return { ...state, problems: [...admitted.problems, ...state.problems] };
}
