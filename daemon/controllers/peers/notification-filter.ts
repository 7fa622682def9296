/** Selects the kernel notifications that concern the data path to other nodes. */
import type { LocalNode } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { type Address, addressBits, formatAddress } from "../../../pkg/ip/address.ts";
import { contains, formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { parseLinkAddress } from "../../../pkg/kernel/address.ts";
import { parseLink } from "../../../pkg/kernel/link.ts";
import { type Forwarding, type Neighbour, parseForwarding, parseNeighbour } from "../../../pkg/kernel/neighbour.ts";
import { parseRoute } from "../../../pkg/kernel/route.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../../pkg/netlink/address.ts";
import { RTM_DELLINK, RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import { decode, type Message } from "../../../pkg/netlink/message.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../../pkg/netlink/neighbour.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../../../pkg/netlink/route.ts";
import { deviceIndexes, type Entries } from "../../../pkg/reconcile/data-path.ts";
import type { Trigger } from "../../core/controller.ts";
import type { Observation } from "../../core/shared-kernel.ts";
import type { UnderlayChoice } from "./underlay.ts";

/** The objects that weftd maintains or depends on. */
export interface PeersFilter {
  /** Names of links, existing or not: the underlay and our own devices. */
  readonly linkNames: ReadonlySet<string>;
  /** Indexes of those of these links that exist. */
  readonly linkIndexes: ReadonlySet<number>;
  /** Addresses by which the underlay is chosen. Any link that has one may become the underlay. */
  readonly underlayAddresses: readonly Prefix[];
  /** Indexes of our own devices by name. Only neighbours and forwarding entries on these are ours. */
  readonly devices: ReadonlyMap<string, number>;
  /**
   * The hardware addresses of our neighbours, by `neighbourKey`, and the destinations of our forwarding entries, by
   * `forwardingKey`. The kernel announces our own changes of them without our port.
   */
  readonly neighbours: ReadonlyMap<string, string>;
  readonly forwarding: ReadonlyMap<string, string>;
  /** Destinations of our routes, as `formatPrefix` formats them. */
  readonly destinations: ReadonlySet<string>;
  /** The protocol number of our routes. */
  readonly routeProtocol: number;
  /** The port of the socket that programs. Messages with this port announce weftd's own changes. */
  readonly ownPort: number;
}

/** Returns why `message` triggers a comparison; undefined if it does not. */
export function peersReason(message: Message, filter: PeersFilter): string | undefined {
  if (message.portId === filter.ownPort && filter.ownPort !== 0) return undefined;
  switch (message.type) {
    case RTM_NEWLINK.type:
    case RTM_DELLINK.type: {
      const { index, name } = parseLink(message);
      return filter.linkIndexes.has(index) || filter.linkNames.has(name) ? `link ${name}` : undefined;
    }
    case RTM_NEWADDR.type:
    case RTM_DELADDR.type: {
      if (filter.linkIndexes.has(decode(RTM_NEWADDR, message).header.index)) return "address";
      const address = parseLinkAddress(message)?.prefix.address;
      const isUnderlays = address && filter.underlayAddresses.some((one) => contains(one, address));
      return isUnderlays === true ? "address" : undefined;
    }
    case RTM_NEWROUTE.type:
    case RTM_DELROUTE.type: {
      const route = parseRoute(message);
      const isOurs =
        route !== undefined &&
        (route.protocol === filter.routeProtocol || filter.destinations.has(formatPrefix(route.destination)));
      return isOurs ? "route" : undefined;
    }
    case RTM_NEWNEIGH.type:
    case RTM_DELNEIGH.type:
      return isOnDevice(message, filter) && !isAsDesired(message, filter) ? "neighbour" : undefined;
    default:
      return undefined;
  }
}

function isOnDevice(message: Message, { devices }: PeersFilter): boolean {
  const { index } = decode(RTM_NEWNEIGH, message).header;
  return [...devices.values()].includes(index);
}

/** True if the message announces an entry that is as weftd needs it, or the removal of one that weftd does not need. */
function isAsDesired(message: Message, { neighbours, forwarding }: PeersFilter): boolean {
  const isRemoval = message.type === RTM_DELNEIGH.type;
  const neighbour = parseNeighbour(message);
  if (neighbour !== undefined) {
    const mac = neighbours.get(neighbourKey(neighbour));
    return isRemoval ? mac === undefined : neighbour.isPermanent && mac === neighbour.mac;
  }
  const entry = parseForwarding(message);
  if (entry === undefined) return false;
  const destination = forwarding.get(forwardingKey(entry));
  return isRemoval ? destination === undefined : entry.isPlain && destination === formatAddress(entry.destination);
}

function neighbourKey({ index, address }: Pick<Neighbour, "index" | "address">): string {
  return `${index} ${formatAddress(address)}`;
}

function forwardingKey({ index, mac }: Pick<Forwarding, "index" | "mac">): string {
  return `${index} ${mac}`;
}

/** Returns the trigger. While nothing is programmed yet, every message triggers a pass. */
export function peersTrigger(message: Message, filter: PeersFilter | undefined): Trigger | undefined {
  const reason = filter === undefined ? "kernel" : peersReason(message, filter);
  return reason === undefined ? undefined : { reason, isPatient: mayBeEcho(message, filter) };
}

/**
 * True if the message may announce our own change. Another process's changes carry its port, and this process does not
 * change the underlay.
 */
function mayBeEcho(message: Message, filter: PeersFilter | undefined): boolean {
  if (message.portId !== 0) return false;
  if (filter === undefined) return true;
  const isAbout = (index: number) => filter.linkIndexes.has(index) && ![...filter.devices.values()].includes(index);
  switch (message.type) {
    case RTM_NEWLINK.type:
    case RTM_DELLINK.type:
      return !isAbout(decode(RTM_NEWLINK, message).header.index);
    case RTM_NEWADDR.type:
    case RTM_DELADDR.type:
      return !isAbout(decode(RTM_NEWADDR, message).header.index);
    default:
      return true;
  }
}

/** `chosenBy` has the addresses by which the underlay was chosen. */
export function filterOf(
  { dataPath }: DesiredState,
  { link }: UnderlayChoice,
  { subnets }: LocalNode,
  { state, port }: Observation,
  chosenBy: readonly Prefix[],
): PeersFilter {
  const devices = new Set(dataPath.devices.map(({ name }) => name));
  const indexesOf = (names: ReadonlySet<string>) =>
    new Set(state.links.filter(({ name }) => names.has(name)).map(({ index }) => index));
  const linkNames = new Set([link.name, ...devices]);
  const none = { neighbours: new Map(), forwarding: new Map(), destinations: new Set<string>() };
  const filter: PeersFilter = {
    linkNames,
    linkIndexes: indexesOf(linkNames),
    devices: deviceIndexes(dataPath, state),
    ...none,
    routeProtocol: RTPROT_WEFT,
    underlayAddresses: chosenBy,
    ownPort: port,
  };
  const { destinations, ...rest } = withEntries(filter, NO_ENTRIES, dataPath);
  // The kernel creates the routes to our own subnets. They are as important as ours.
  return { ...rest, destinations: new Set([...destinations, ...subnets.map(formatPrefix)]) };
}

const NO_ENTRIES: Entries = { routes: [], neighbours: [], forwarding: [] };

/** Returns the filter after a change of some of our entries. */
export function withEntries(filter: PeersFilter, before: Entries, after: Entries): PeersFilter {
  const indexOf = (device: string) => filter.devices.get(device) ?? 0;
  const neighbours = new Map(filter.neighbours);
  const forwarding = new Map(filter.forwarding);
  const destinations = new Set(filter.destinations);
  for (const { device, address } of before.neighbours)
    neighbours.delete(neighbourKey({ index: indexOf(device), address }));
  for (const { device, mac } of before.forwarding) forwarding.delete(forwardingKey({ index: indexOf(device), mac }));
  for (const { destination } of before.routes) destinations.delete(formatPrefix(destination));
  for (const { device, address, mac } of after.neighbours)
    neighbours.set(neighbourKey({ index: indexOf(device), address }), mac);
  for (const { device, mac, destination } of after.forwarding)
    forwarding.set(forwardingKey({ index: indexOf(device), mac }), formatAddress(destination));
  for (const { destination } of after.routes) destinations.add(formatPrefix(destination));
  return { ...filter, neighbours, forwarding, destinations };
}

/** Returns a prefix that contains only this address. */
export function hostPrefix(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}
