/**
 * Computes the desired kernel state for VXLAN: devices for the overlays by which this node receives and sends, and
 * entries for the peers. A node joins the overlay that a peer announces, even if its own differs. So a cluster can
 * change its VNI or port node by node.
 */
import type { BackendTask, Contribution, Sending } from "../contract.ts";
import type { PeerProblem } from "../state.ts";
import { largestVni, type VxlanConf } from "./conf.ts";
import { type Tunnelled, tunnelEntries } from "./entries.ts";
import { type KnownVtep, type Overlay, overlayOf, planVteps } from "./overlay.ts";
import type { VxlanPeer } from "./peer.ts";

/**
 * An old and a new overlay, and one for a misconfigured node. Peers' announcements must not create an unlimited number
 * of devices.
 */
const MOST_OVERLAYS = 3;

export type VxlanTask = BackendTask<VxlanConf, VxlanPeer, KnownVtep, Overlay>;

export function plan({ conf, isOwn, networks, node, peers, sending, known, keep }: VxlanTask): Contribution {
  const problems: PeerProblem[] = [];
  const own = isOwn ? [overlayOf(conf)] : [];
  const largest = largestVni(networks);
  const announced = peers.map((peer) => joined(conf, peer)).filter(({ vni }) => vni >= 1 && vni <= largest);
  const used = distinct([...own, ...announced]).slice(0, MOST_OVERLAYS);
  const vteps = planVteps(
    { overlays: distinct([...used, ...keep]), underlayMtu: conf.underlayMtu },
    node,
    known,
    problems,
  );
  const isAmong = (overlays: readonly Overlay[], overlay: Overlay) => overlays.some((one) => isSame(one, overlay));
  const tunnelled = sending.flatMap(({ peer, subnets }: Sending<VxlanPeer>): Tunnelled[] => {
    const overlay = joined(conf, peer);
    if (isAmong(used, overlay)) return [{ peer, subnets, overlay }];
    problems.push({ peer: peer.name, trouble: "OtherBackend", reason: tooMany(overlay) });
    return [];
  });
  const tunnels = tunnelEntries(vteps, tunnelled);
  return {
    devices: vteps,
    entries: tunnels.entries,
    mtu: Math.min(...vteps.filter((vtep) => isAmong(used, vtep)).map(({ mtu }) => mtu)),
    endpoints: Object.fromEntries(
      vteps.filter((vtep) => isAmong(own, vtep)).map(({ local, mac }) => [local.family, mac]),
    ),
    tunnels: vteps.map(({ local, port, vni }) => ({ family: local.family, port, vni })),
    isAsymmetric: used.length > 1,
    problems: [...problems, ...tunnels.problems],
  };
}

/** Returns the overlay in which a peer receives. */
export function joined(conf: VxlanConf, { vni = conf.vni, port = conf.port }: VxlanPeer): Overlay {
  return { vni, port };
}

function tooMany({ vni, port }: Overlay): string {
  return (
    `this node does not join its overlay with VNI ${vni} at port ${port}: a cluster has one overlay, or two while it ` +
    `changes to another, and a node joins at most ${MOST_OVERLAYS}: correct the peer's configuration`
  );
}

function isSame(a: Overlay, b: Overlay): boolean {
  return a.vni === b.vni && a.port === b.port;
}

/** Compares each with the few found: nearly all of thousands of peers announce the same overlay. */
function distinct(overlays: readonly Overlay[]): Overlay[] {
  const found: Overlay[] = [];
  for (const overlay of overlays) if (!found.some((one) => isSame(one, overlay))) found.push(overlay);
  return found;
}
