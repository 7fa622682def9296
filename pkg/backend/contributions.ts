/**
 * Computes the backends' contributions to the desired state of the kernel: which peers are accepted, by which backend
 * each is reached, and what each backend adds for that. The executables need no more (`pathOf`); desired.ts completes
 * the state for weftd.
 *
 * A node sends to each peer by the method that the peer announces, and receives by every method that some peer may
 * still use. So a cluster can change its backend, VNI or port node by node, and every pair of pods stays connected.
 */
import type { Link } from "../kernel/link.ts";
import type { DataPath, PeerForwarding, PeerNeighbour, PeerRoute } from "../reconcile/data-path.ts";
import { admitPeers } from "./admission.ts";
import { BACKENDS, backendNamed, backendOf } from "./backends.ts";
import type { Backend, Contribution, KnownDevice, Sending } from "./contract.ts";
import { directRoute } from "./direct-route.ts";
import { type NetConf, settingsOf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { EntryGroups, PeerEntries, PeerProblem } from "./state.ts";

/** A value for each backend, by its name. Missing if there is none. */
export type OfBackends<T> = ReadonlyMap<string, T>;

/** The devices that connect this node with peers, existing or remembered. */
export type KnownDevices = OfBackends<readonly KnownDevice[]>;

/** The channels by which a node receives, in each backend's own format. */
export type Channels = OfBackends<readonly unknown[]>;

/** `remembered` has hardware addresses by device name, as this node announced them last in this boot. */
export function knownDevices(links: readonly Link[], remembered: ReadonlyMap<string, string>): KnownDevices {
  return new Map(BACKENDS.map((backend) => [backend.name, backend.known?.(links, remembered) ?? []]));
}

/** The contributions of the backends and the accepted peers. */
export interface Contributions {
  /** The backend by which this node receives. */
  readonly own: Backend;
  /** True if plain routes are used to peers on the link. */
  readonly isDirect: boolean;
  /** The accepted peers with their accepted subnets. */
  readonly peers: readonly Peer[];
  readonly parts: readonly (readonly [Backend, Contribution])[];
  readonly entries: EntryGroups;
  readonly problems: readonly PeerProblem[];
}

/** `known` are this node's devices (`knownDevices`). `keep` are the channels by which it continues to receive. */
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
    // A peer that has announced nothing may get a plain route. A peer with an unknown backend gets no route.
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
  // Plain routes need no device, so they are first.
  const inOrder = [...all].sort((a, b) => (a.devices?.length ?? 0) - (b.devices?.length ?? 0));
  return {
    ...{ own, isDirect, peers, parts },
    entries: [direct, ...inOrder.map((part) => part.entries ?? [])],
    problems: [...problems, ...all.flatMap((part) => part.problems ?? [])],
  };
}

/** Returns the desired state of the kernel. */
export function pathOf({ parts, entries }: Contributions): DataPath {
  return { devices: parts.flatMap(([, part]) => part.devices ?? []), ...joinEntries(entries) };
}

/**
 * Returns the entries of all groups, in their order. Uses loops for speed: there may be thousands of peers with a few
 * entries each.
 */
export function joinEntries(groups: EntryGroups): Omit<DataPath, "devices"> {
  const routes: PeerRoute[] = [];
  const neighbours: PeerNeighbour[] = [];
  const forwarding: PeerForwarding[] = [];
  for (const group of groups)
    for (const part of group) {
      if (part.routes !== undefined) routes.push(...part.routes);
      if (part.neighbours !== undefined) neighbours.push(...part.neighbours);
      if (part.forwarding !== undefined) forwarding.push(...part.forwarding);
    }
  return { routes, neighbours, forwarding };
}

/**
 * Returns the backend by which `peer` is reached: the one it announces or, if it has announced none, this node's own if
 * that is possible.
 */
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
    reason: `its backend is ${backendType}: this node supports only ${known}`,
  };
}

/** Returns plain routes to those subnets of `peer` for which they are possible. */
function plainRoutes({ underlay }: LocalNode, peer: Peer): readonly PeerRoute[] {
  return peer.subnets.flatMap((subnet) => {
    const route = directRoute(underlay, peer, subnet);
    return "trouble" in route ? [] : [route];
  });
}
