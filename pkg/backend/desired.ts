/** From the configuration and the peers to what the kernel should hold: the one way in, whatever the backend. */
import { admitPeers } from "./admission.ts";
import { hostGwState } from "./host-gw.ts";
import type { NetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { DesiredState } from "./state.ts";
import { vxlanState } from "./vxlan.ts";

/** `knownMacs` are the hardware addresses of VTEP devices that peers know already, by name (`knownVtepMacs`). */
export function desiredState(
  { networks, backend }: NetConf,
  node: LocalNode,
  peers: readonly Peer[],
  knownMacs: ReadonlyMap<string, string>,
): DesiredState {
  const admitted = admitPeers(networks, node, peers);
  const state =
    backend.type === "vxlan" ? vxlanState(backend, node, admitted.peers, knownMacs) : hostGwState(node, admitted.peers);
  return { ...state, problems: [...admitted.problems, ...state.problems] };
}
