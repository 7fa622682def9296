/**
 * From the configuration and the peers to what the kernel should hold: the one way in, whatever the backends.
 *
 * A node sends to each peer as the peer announces to receive, and receives by every way that some peer may still send. So
 * a cluster changes its backend, VNI or port node by node, and every pair of pods stays connected.
 */

import type { Device } from "../kernel/device.ts";
import type { Link } from "../kernel/link.ts";
import type { PeerForwarding, PeerNeighbour, PeerRoute } from "../reconcile/data-path.ts";
import { admitPeers } from "./admission.ts";
import { BACKENDS, backendNamed, backendOf } from "./backends.ts";
import type { Backend, Contribution, KnownDevice, PeerEntries, Sending } from "./contract.ts";
import { directRoute } from "./direct-route.ts";
import { type NetConf, settingsOf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { DesiredState, PeerProblem } from "./state.ts";

/** Something of each backend, by its name; absent where there is nothing. */
export type OfBackends<T> = ReadonlyMap<string, T>;

/** The devices that lead to peers and that this node has, or has had. */
export type KnownDevices = OfBackends<readonly KnownDevice[]>;

/** What a node receives by, in each backend's own form. */
export type Channels = OfBackends<readonly unknown[]>;

export const NO_CHANNELS: Channels = new Map();

/** `remembered`: hardware addresses by device name, as this node announced them last in this boot. */
export function knownDevices(links: readonly Link[], remembered: ReadonlyMap<string, string>): KnownDevices {
  return new Map(BACKENDS.map((backend) => [backend.name, backend.known?.(links, remembered) ?? []]));
}

/** `known` are the devices that this node has already (`knownDevices`); by the channels `keep` it goes on receiving. */
export function desiredState(
  conf: NetConf,
  node: LocalNode,
  peers: readonly Peer[],
  known: KnownDevices,
  keep: Channels = NO_CHANNELS,
): DesiredState {
  const { networks, backend: ownConf } = conf;
  const own = backendOf(ownConf);
  const admitted = admitPeers(networks, node, peers);
  const problems: PeerProblem[] = [...admitted.problems];
  const connectable = admitted.peers.filter(({ subnets }) => subnets.length > 0);
  const direct: PeerEntries[] = [];
  const sending = new Map<Backend, Sending<Peer>[]>(BACKENDS.map((backend) => [backend, []]));
  const isDirect = own.routesDirectly?.(ownConf) === true;
  for (const peer of connectable) {
    const by = senderTo(own, peer);
    const routes = isDirect && takesPlainRoutes(by) ? plainRoutes(node, peer) : [];
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
      peers: connectable.filter(({ backendType }) => backendType === backend.name),
      sending: sending.get(backend) ?? [],
      known: known.get(backend.name) ?? [],
      keep: keep.get(backend.name) ?? [],
    };
    const isIdle = !task.isOwn && [task.peers, task.sending, task.keep].every(({ length }) => length === 0);
    return settings === undefined || isIdle ? [] : [[backend, backend.plan({ conf: settings, ...task })]];
  });
  const all = parts.map(([, part]) => part);
  const hasDevices = ({ devices = [] }: Contribution) => devices.length > 0;
  const entries = [
    ...direct,
    ...[...all.filter((part) => !hasDevices(part)), ...all.filter(hasDevices)].flatMap((part) => part.entries ?? []),
  ];
  const isOtherwise = ({ backendType = own.name }: Peer) => backendType !== own.name;
  return {
    ...flatten(entries, all.flatMap(({ devices = [] }) => devices)),
    podMtu: Math.min(...all.map(({ mtu = node.underlay.mtu }) => mtu), node.underlay.mtu),
    unmasqueraded: own.seesPods ? connectable.filter(seesPods).flatMap(({ addresses }) => addresses) : [],
    endpoints: parts.find(([backend]) => backend === own)?.[1].endpoints ?? {},
    tunnels: all.flatMap(({ tunnels = [] }) => tunnels),
    isAsymmetric: isDirect || all.some((part) => part.isAsymmetric === true) || connectable.some(isOtherwise),
    problems: [...problems, ...all.flatMap((part) => part.problems ?? [])],
  };
}

/** Loops: of thousands of peers each has a few. */
function flatten(
  entries: readonly PeerEntries[],
  devices: readonly Device[],
): Pick<DesiredState, "dataPath" | "entryPeers"> {
  const routes: PeerRoute[] = [];
  const neighbours: PeerNeighbour[] = [];
  const forwarding: PeerForwarding[] = [];
  const entryPeers = { routes: [] as string[], neighbours: [] as string[], forwarding: [] as string[] };
  for (const part of entries) {
    add(part.routes, routes, entryPeers.routes, part.peer);
    add(part.neighbours, neighbours, entryPeers.neighbours, part.peer);
    add(part.forwarding, forwarding, entryPeers.forwarding, part.peer);
  }
  return { dataPath: { devices, routes, neighbours, forwarding }, entryPeers };
}

function add<T>(from: readonly T[] | undefined, to: T[], peers: string[], peer: string): void {
  if (from === undefined) return;
  for (const entry of from) {
    to.push(entry);
    peers.push(peer);
  }
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

/** One that has announced nothing may get a plain route; one with a backend that is none of ours gets nothing. */
function takesPlainRoutes(by: Backend | PeerProblem): boolean {
  return "trouble" in by ? by.trouble === "NotAnnounced" : by.takesPlainRoutes;
}

/** To the subnets of `peer` that there can be plain routes to. */
function plainRoutes({ underlay }: LocalNode, peer: Peer): readonly PeerRoute[] {
  return peer.subnets.flatMap((subnet) => {
    const route = directRoute(underlay, peer, subnet);
    return "trouble" in route ? [] : [route];
  });
}

/** Who announces nothing yet counts as one of this node's own backend. */
function seesPods({ backendType }: Peer): boolean {
  return backendType === undefined || backendNamed(backendType)?.seesPods === true;
}
