/** Which kernel notifications concern the way to other nodes. */
import type { LocalNode } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { type Address, addressBits } from "../../../pkg/ip/address.ts";
import { contains, formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { parseLinkAddress } from "../../../pkg/kernel/address.ts";
import { parseLink } from "../../../pkg/kernel/link.ts";
import { parseRoute } from "../../../pkg/kernel/route.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../../pkg/netlink/address.ts";
import { RTM_DELLINK, RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import { decode, type Message } from "../../../pkg/netlink/message.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../../pkg/netlink/neighbour.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../../../pkg/netlink/route.ts";
import type { Trigger } from "../../core/controller.ts";
import type { Observation } from "../../core/shared-kernel.ts";
import type { UnderlayChoice } from "./underlay.ts";

/** What weftd keeps, or builds on. */
export interface PeersFilter {
  /** Links by name, there or not: the underlay and devices of ours. */
  readonly linkNames: ReadonlySet<string>;
  /** The same links by index, as far as they are there. */
  readonly linkIndexes: ReadonlySet<number>;
  /** Addresses that the underlay is chosen by: whichever link has one may be the underlay's. */
  readonly underlayAddresses: readonly Prefix[];
  /** Of the links, the devices of ours: only their neighbours and forwarding entries are ours. */
  readonly deviceIndexes: ReadonlySet<number>;
  /** Destinations of our routes, as `formatPrefix` writes them. */
  readonly destinations: ReadonlySet<string>;
  /** The protocol number of our routes. */
  readonly routeProtocol: number;
  /** The port of the socket that programs: what carries it is the echo of our own doing. */
  readonly ownPort: number;
}

/** Why `message` calls for a comparison; undefined when it does not. */
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
      return filter.deviceIndexes.has(decode(RTM_NEWNEIGH, message).header.index) ? "neighbour" : undefined;
    default:
      return undefined;
  }
}

/** While nothing is programmed yet, everything counts. */
export function peersTrigger(message: Message, filter: PeersFilter | undefined): Trigger | undefined {
  const reason = filter === undefined ? "kernel" : peersReason(message, filter);
  return reason === undefined ? undefined : { reason, isPatient: mayBeEcho(message, filter) };
}

/** What another process did carries its port; and nothing that this one does changes the underlay. */
function mayBeEcho(message: Message, filter: PeersFilter | undefined): boolean {
  if (message.portId !== 0) return false;
  if (filter === undefined) return true;
  const isAbout = (index: number) => filter.linkIndexes.has(index) && !filter.deviceIndexes.has(index);
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

/** `chosenBy`: what the underlay was chosen by. */
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
  return {
    linkNames,
    linkIndexes: indexesOf(linkNames),
    deviceIndexes: indexesOf(devices),
    // Those of our own subnets are the kernel's, and as important.
    destinations: new Set([...dataPath.routes.map(({ destination }) => destination), ...subnets].map(formatPrefix)),
    routeProtocol: RTPROT_WEFT,
    underlayAddresses: chosenBy,
    ownPort: port,
  };
}

/** An address as the prefix of itself alone. */
export function hostPrefix(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}
