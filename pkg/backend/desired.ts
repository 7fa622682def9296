/**
 * Computes the desired state of the kernel, and related facts for other controllers, from the configuration and the
 * peers.
 */
import { backendNamed } from "./backends.ts";
import { type Channels, contributionsOf, type KnownDevices, pathOf } from "./contributions.ts";
import type { NetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { DesiredState, PeerProblem } from "./state.ts";

/** The parameters are those of `contributionsOf`. */
export function desiredState(
  conf: NetConf,
  node: LocalNode,
  claimed: readonly Peer[],
  known: KnownDevices,
  keep?: Channels,
): DesiredState {
  const contributions = contributionsOf(conf, node, claimed, known, keep);
  const { own, isDirect, peers, parts, entries, problems } = contributions;
  const all = parts.map(([, part]) => part);
  const isOtherwise = ({ backendType = own.name }: Peer) => backendType !== own.name;
  return {
    dataPath: pathOf(contributions),
    entries,
    podMtu: Math.min(...all.map(({ mtu = node.underlay.mtu }) => mtu), node.underlay.mtu),
    unmasqueraded: own.seesPods ? peers.filter(seesPods).flatMap(({ addresses }) => addresses) : [],
    endpoints: parts.find(([backend]) => backend === own)?.[1].endpoints ?? {},
    tunnels: all.flatMap(({ tunnels = [] }) => tunnels),
    isAsymmetric: isDirect || all.some((part) => part.isAsymmetric === true) || peers.some(isOtherwise),
    problems: byPeer(problems),
  };
}

/** Sorts by the peer's name; problems of one peer keep their order. */
export function byPeer(problems: readonly PeerProblem[]): readonly PeerProblem[] {
  return [...problems].sort((a, b) => (a.peer < b.peer ? -1 : a.peer > b.peer ? 1 : 0));
}

/** A peer that has announced no backend yet counts as one with this node's own. */
function seesPods({ backendType }: Peer): boolean {
  return backendType === undefined || backendNamed(backendType)?.seesPods === true;
}
