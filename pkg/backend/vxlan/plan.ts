/**
 * What the kernel should hold for VXLAN: devices for the overlays that this node receives and sends by, and entries for
 * the peers. A node joins the overlay that a peer announces, whatever its own: so a cluster changes its VNI or port
 * node by node.
 */
import type { BackendTask, Contribution, Sending } from "../contract.ts";
import type { PeerProblem } from "../state.ts";
import { largestVni, type VxlanConf } from "./conf.ts";
import { type Tunnelled, tunnelEntries } from "./entries.ts";
import { type KnownVtep, type Overlay, overlayOf, planVteps } from "./overlay.ts";
import type { VxlanPeer } from "./peer.ts";

/** An old one and a new one, and one for a node that is wrong: what peers announce must not cost devices without end. */
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

/** The overlay that a peer takes packets from. */
export function joined(conf: VxlanConf, { vni = conf.vni, port = conf.port }: VxlanPeer): Overlay {
  return { vni, port };
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

/** Of thousands of peers nearly all announce one and the same. */
function distinct(overlays: readonly Overlay[]): Overlay[] {
  const found: Overlay[] = [];
  for (const overlay of overlays) if (!found.some((one) => isSame(one, overlay))) found.push(overlay);
  return found;
}
