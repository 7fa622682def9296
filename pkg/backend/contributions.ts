/**
 * What the backends make of the peers: which peers are believed, by which backend each is sent to, and what each backend
 * adds for that to what the kernel should hold. The executables need no more (`pathOf`); weftd goes on from here (desired.ts).
 *
 * A node sends to each peer as the peer announces to receive, and receives by every way that some peer may still send. So
 * a cluster changes its backend, VNI or port node by node, and every pair of pods stays connected.
 */
import type { Device } from "../kernel/device.ts";
import type { Link } from "../kernel/link.ts";
import type { DataPath, PeerForwarding, PeerNeighbour, PeerRoute } from "../reconcile/data-path.ts";
import { admitPeers } from "./admission.ts";
import { BACKENDS, backendNamed, backendOf } from "./backends.ts";
import type { Backend, Contribution, KnownDevice, PeerEntries, Sending } from "./contract.ts";
import { directRoute } from "./direct-route.ts";
import { type NetConf, settingsOf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { PeerProblem } from "./state.ts";

/** Something of each backend, by its name; absent where there is nothing. */
export type OfBackends<T> = ReadonlyMap<string, T>;

/** The devices that lead to peers and that this node has, or has had. */
export type KnownDevices = OfBackends<readonly KnownDevice[]>;

/** What a node receives by, in each backend's own form. */
export type Channels = OfBackends<readonly unknown[]>;

/** `remembered`: hardware addresses by device name, as this node announced them last in this boot. */
export function knownDevices(links: readonly Link[], remembered: ReadonlyMap<string, string>): KnownDevices {
  return new Map(BACKENDS.map((backend) => [backend.name, backend.known?.(links, remembered) ?? []]));
}

/** What the backends add, and for which peers. */
export interface Contributions {
  /** The backend that this node receives by. */
  readonly own: Backend;
  /** Peers on the link are sent to by plain routes. */
  readonly isDirect: boolean;
  /** The peers that are believed, with the subnets that are. */
  readonly peers: readonly Peer[];
  readonly parts: readonly (readonly [Backend, Contribution])[];
  /** For single peers; plain routes first. */
  readonly entries: readonly PeerEntries[];
  readonly problems: readonly PeerProblem[];
}

/** `known` are the devices that this node has already (`knownDevices`); by the channels `keep` it goes on receiving. */
export function contributionsOf(
  conf: NetConf,
  node: LocalNode,
  claimed: readonly Peer[],
  known: KnownDevices,
  keep?: Channels,
): Contributions {
  const { networks, backend: ownConf } = conf;
  const own = backendOf(ownConf);
  const admitted = admitPeers(networks, node, claimed);
  const problems: PeerProblem[] = [...admitted.problems];
  const peers = admitted.peers.filter(({ subnets }) => subnets.length > 0);
  const direct: PeerEntries[] = [];
  const sending = new Map<Backend, Sending<Peer>[]>(BACKENDS.map((backend) => [backend, []]));
  const isDirect = own.routesDirectly?.(ownConf) === true;
  for (const peer of peers) {
    const by = senderTo(own, peer);
    // One that has announced nothing may get a plain route; one with a backend that is none of ours gets nothing.
    const takesPlain = "trouble" in by ? by.trouble === "NotAnnounced" : by.takesPlainRoutes;
    const routes = isDirect && takesPlain ? plainRoutes(node, peer) : [];
    if (routes.length > 0) direct.push({ peer: peer.name, routes });
    const subnets =
      routes.length === 0
        ? peer.subnets
        : peer.subnets.filter((subnet) => !routes.some(({ destination }) => destination === subnet));
    if (subnets.length === 0) continue;
    if ("trouble" in by) problems.push(by);
    else sending.get(by)?.push({ peer, subnets });
  }
  const parts = BACKENDS.flatMap((backend): (readonly [Backend, Contribution])[] => {
    const settings = settingsOf(conf, backend);
    const task = {
      ...{ isOwn: backend === own, networks, node },
      peers: peers.filter(({ backendType }) => backendType === backend.name),
      sending: sending.get(backend) ?? [],
      known: known.get(backend.name) ?? [],
      keep: keep?.get(backend.name) ?? [],
    };
    const isIdle = !task.isOwn && task.peers.length + task.sending.length + task.keep.length === 0;
    return settings === undefined || isIdle ? [] : [[backend, backend.plan({ conf: settings, ...task })]];
  });
  const all = parts.map(([, part]) => part);
  // Plain routes, which need no device, come first.
  const inOrder = [...all].sort((a, b) => (a.devices?.length ?? 0) - (b.devices?.length ?? 0));
  return {
    ...{ own, isDirect, peers, parts },
    entries: [...direct, ...inOrder.flatMap((part) => part.entries ?? [])],
    problems: [...problems, ...all.flatMap((part) => part.problems ?? [])],
  };
}

/** What the kernel should hold. Loops: of thousands of peers each has a few entries. */
export function pathOf({ parts, entries }: Contributions): DataPath {
  const devices: Device[] = [];
  const routes: PeerRoute[] = [];
  const neighbours: PeerNeighbour[] = [];
  const forwarding: PeerForwarding[] = [];
  for (const [, part] of parts) devices.push(...(part.devices ?? []));
  for (const part of entries) {
    if (part.routes !== undefined) routes.push(...part.routes);
    if (part.neighbours !== undefined) neighbours.push(...part.neighbours);
    if (part.forwarding !== undefined) forwarding.push(...part.forwarding);
  }
  return { devices, routes, neighbours, forwarding };
}

/** The backend that `peer` is sent to by: what it announces, else, for want of that, this node's own where it can. */
function senderTo(own: Backend, { name, backendType }: Peer): Backend | PeerProblem {
  if (backendType === undefined) {
    if (own.reachesUnannounced) return own;
    return { peer: name, trouble: "NotAnnounced", reason: "it has announced no backend yet" };
  }
  const backend = backendNamed(backendType);
  if (backend !== undefined) return backend;
  const known = BACKENDS.map((one) => one.name).join(" and ");
  return {
    peer: name,
    trouble: "OtherBackend",
    reason: `its backend is ${backendType}: this node sends by ${known} only`,
  };
}

/** To the subnets of `peer` that there can be plain routes to. */
function plainRoutes({ underlay }: LocalNode, peer: Peer): readonly PeerRoute[] {
  return peer.subnets.flatMap((subnet) => {
    const route = directRoute(underlay, peer, subnet);
    return "trouble" in route ? [] : [route];
  });
}
