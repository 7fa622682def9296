/**
 * From the configuration and the peers to what the kernel should hold: the one way in, whatever the backend.
 *
 * A node sends to each peer as the peer announces to receive, and receives by every way that some peer may still send. So
 * a cluster changes its backend, VNI or port node by node, and every pair of pods stays connected.
 */

import type { Prefix } from "../ip/prefix.ts";
import type { PeerRoute } from "../reconcile/data-path.ts";
import { admitPeers } from "./admission.ts";
import { directRoute } from "./host-gw.ts";
import { largestVni, type NetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import { type KnownVtep, type Overlay, planVteps } from "./overlay.ts";
import type { DesiredState, PeerProblem } from "./state.ts";
import { type Tunnelled, tunnelEntries } from "./vxlan.ts";

/** An old one and a new one, and one for a node that is wrong: what peers announce must not cost devices without end. */
const MOST_OVERLAYS = 3;

/** `known` are the VTEPs that this node has already (`knownVteps`); on the overlays `keep` it goes on receiving. */
export function desiredState(
  { networks, backend }: NetConf,
  node: LocalNode,
  peers: readonly Peer[],
  known: readonly KnownVtep[],
  keep: readonly Overlay[] = [],
): DesiredState {
  const admitted = admitPeers(networks, node, peers);
  const problems: PeerProblem[] = [...admitted.problems];
  const connectable = admitted.peers.filter(({ subnets }) => subnets.length > 0);
  const overlayOf = ({ vni = backend.vni, port = backend.port }: Peer): Overlay => ({ vni, port });
  const own = backend.type === "vxlan" ? [{ vni: backend.vni, port: backend.port }] : [];
  const announced = connectable.filter(({ backendType }) => backendType === "vxlan").map(overlayOf);
  const sending = distinct([...own, ...announced.filter(({ vni }) => vni >= 1 && vni <= largestVni(networks))]).slice(
    0,
    MOST_OVERLAYS,
  );
  const { underlayMtu } = backend.type === "vxlan" ? backend : { underlayMtu: undefined };
  const overlays = distinct([...sending, ...keep]);
  const vteps = planVteps({ overlays, underlayMtu }, node, known, problems);

  const direct: PeerRoute[] = [];
  const directPeers: string[] = [];
  const tunnelled: Tunnelled[] = [];
  for (const peer of connectable) {
    const overlay = overlayOf(peer);
    const ways = peer.subnets.map((subnet) => ({ subnet, way: wayTo(backend, node, peer, subnet) }));
    const subnets = ways.flatMap(({ subnet, way }) => (way === "tunnel" ? [subnet] : []));
    const troubles = new Map<string, PeerProblem>();
    for (const { way } of ways) {
      if (way === "tunnel") continue;
      if ("trouble" in way) troubles.set(way.reason, way);
      else {
        direct.push(way);
        directPeers.push(peer.name);
      }
    }
    problems.push(...troubles.values());
    if (subnets.length === 0) continue;
    if (sending.some((one) => isSame(one, overlay))) tunnelled.push({ peer, subnets, overlay });
    else problems.push({ peer: peer.name, trouble: "OtherBackend", reason: tooMany(overlay) });
  }
  const entries = tunnelEntries(vteps, tunnelled);
  const isSending = ({ vni, port }: Overlay) => sending.some((one) => isSame(one, { vni, port }));
  const isOwn = ({ vni, port }: Overlay) => own.some((one) => isSame(one, { vni, port }));
  return {
    dataPath: {
      vteps,
      routes: [...direct, ...entries.routes],
      neighbours: entries.neighbours,
      forwarding: entries.forwarding,
    },
    entryPeers: { ...entries.entryPeers, routes: [...directPeers, ...entries.entryPeers.routes] },
    podMtu: Math.min(...vteps.filter(isSending).map(({ mtu }) => mtu), node.underlay.mtu),
    unmasqueraded:
      backend.type === "vxlan" ? [] : connectable.filter(knowsTheWayBack).flatMap(({ addresses }) => addresses),
    vtepMacs: Object.fromEntries(vteps.filter(isOwn).map(({ local, mac }) => [local.family, mac])),
    isAsymmetric:
      (backend.type === "vxlan" && backend.directRouting) ||
      sending.length > 1 ||
      connectable.some(({ backendType = backend.type }) => backendType !== backend.type),
    problems: [...problems, ...entries.problems],
  };
}

/** How packets to `subnet` go to `peer`: by what it announces, else, for want of that, by this node's own backend. */
function wayTo(
  backend: NetConf["backend"],
  node: LocalNode,
  peer: Peer,
  subnet: Prefix,
): PeerRoute | PeerProblem | "tunnel" {
  const { backendType } = peer;
  if (backendType === "host-gw" || (backendType === undefined && backend.type === "host-gw"))
    return directRoute(node.underlay, peer, subnet);
  if (backendType !== undefined && backendType !== "vxlan") {
    const reason = `its backend is ${backendType}: this node sends by vxlan and host-gw only`;
    return { peer: peer.name, trouble: "OtherBackend", reason };
  }
  if (backend.type === "vxlan" && backend.directRouting) {
    const direct = directRoute(node.underlay, peer, subnet);
    if (!("trouble" in direct)) return direct;
  }
  if (backendType === "vxlan") return "tunnel";
  return { peer: peer.name, trouble: "NotAnnounced", reason: "it has announced no backend yet" };
}

/** In host-gw a reply to a pod finds its way by the peer's own route, so nodes see pods under their own addresses. */
function knowsTheWayBack({ backendType }: Peer): boolean {
  return backendType === undefined || backendType === "host-gw";
}

function tooMany({ vni, port }: Overlay): string {
  return (
    `its VNI ${vni} at port ${port} is one that this node does not join: a cluster has one, or two while it changes from ` +
    `one to the other, and this node takes part in ${MOST_OVERLAYS} at most`
  );
}

function isSame(a: Overlay, b: Overlay): boolean {
  return a.vni === b.vni && a.port === b.port;
}

function distinct(overlays: readonly Overlay[]): Overlay[] {
  return overlays.filter((overlay, at) => overlays.findIndex((other) => isSame(other, overlay)) === at);
}
