/**
 * The kernel's own word that something changed: which of rtnetlink's notifications call for a comparison, and the socket
 * that brings them.
 *
 * A busy node has thousands of them (pods' veths, neighbours that age), so each is looked at for whether it can touch
 * what weftd keeps. What slips through is found by the comparison that follows sooner or later anyway.
 */
import { type Address, isSameAddress } from "../../pkg/ip/address.ts";
import { contains, formatPrefix, type Prefix } from "../../pkg/ip/prefix.ts";
import { parseLinkAddress } from "../../pkg/kernel/address.ts";
import { type Link, parseLink } from "../../pkg/kernel/link.ts";
import { isOfNetwork } from "../../pkg/kernel/owner.ts";
import { parseRoute } from "../../pkg/kernel/route.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../pkg/netlink/address.ts";
import { AF_BRIDGE, RTM_DELLINK, RTM_NEWLINK } from "../../pkg/netlink/link.ts";
import { decode, type Message, splitDatagram } from "../../pkg/netlink/message.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../pkg/netlink/neighbour.ts";
import { NETCONFA_IFINDEX_ALL, RTM_NEWNETCONF } from "../../pkg/netlink/netconf.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../../pkg/netlink/route.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";

/**
 * RTNLGRP_* (include/uapi/linux/rtnetlink.h): links, neighbours and FDB, addresses, routes, and forwarding settings of
 * both families.
 */
const GROUPS = [1, 3, 5, 7, 9, 11, 24, 25] as const;

/** The pods' bridge as the last pass left it, and whose pods its ports are. */
export interface BridgeInterest {
  readonly name: string;
  /** 0 while there is none. */
  readonly index: number;
  /** Its hardware address. */
  readonly mac: string;
  /** The CNI network's name, which the alias of each port tells. */
  readonly network: string;
  /** On the bridge; on another link, that of a pod with a link of its own. */
  readonly gateways: readonly Address[];
  /** Marks of pods outside the node's subnets: with the last of them goes what is kept for them. */
  readonly outside: ReadonlySet<string>;
}

/** What leads to pods that have a link each. */
export interface CableInterest {
  /** The CNI network's name, which the alias of each host's end tells. */
  readonly network: string;
  /** On each host's end, by itself. */
  readonly gateways: readonly Address[];
  /** Each pod's address in them has a route. */
  readonly subnets: readonly Prefix[];
  /** Marks of pods outside the node's subnets. */
  readonly outside: ReadonlySet<string>;
}

/** What weftd keeps, or builds on. */
export interface Interest {
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
  /** Undefined where no pods are on one, and none will be. */
  readonly bridge: BridgeInterest | undefined;
  /** Undefined where all pods are on the bridge. */
  readonly cables: CableInterest | undefined;
  /** The protocol number of our routes. */
  readonly routeProtocol: number;
  /** The port of the socket that programs: what carries it is the echo of our own doing. */
  readonly ownPort: number;
}

/** Why `message` calls for a comparison; undefined when it does not. */
export function reasonToCompare(message: Message, interest: Interest): string | undefined {
  if (message.portId === interest.ownPort && interest.ownPort !== 0) return undefined;
  switch (message.type) {
    case RTM_NEWLINK.type:
    case RTM_DELLINK.type: {
      const link = parseLink(message);
      const { index, name } = link;
      if (interest.linkIndexes.has(index) || interest.linkNames.has(name)) return `link ${name}`;
      const isPods =
        touchesBridge(message, link, interest.bridge) ||
        touchesCable(message, link, interest.cables) ||
        (hasBothKinds(interest) && endsPod(message, link, interest.bridge));
      return isPods ? `link ${name}` : undefined;
    }
    case RTM_NEWADDR.type:
    case RTM_DELADDR.type: {
      const { index } = decode(RTM_NEWADDR, message).header;
      const isOnBridge = index === interest.bridge?.index && message.type === RTM_DELADDR.type;
      if (isOnBridge || interest.linkIndexes.has(index)) return "address";
      const address = parseLinkAddress(message)?.prefix.address;
      if (address === undefined) return undefined;
      const isUnderlays = interest.underlayAddresses.some((one) => contains(one, address));
      return isUnderlays || touchesGateway(message, index, address, interest) ? "address" : undefined;
    }
    case RTM_NEWROUTE.type:
    case RTM_DELROUTE.type: {
      const route = parseRoute(message);
      if (route === undefined) return undefined;
      const isOurs =
        route.protocol === interest.routeProtocol || interest.destinations.has(formatPrefix(route.destination));
      const { destination } = route;
      const isPods =
        message.type === RTM_DELROUTE.type &&
        interest.cables?.subnets.some((subnet) => contains(subnet, destination.address));
      return isOurs || isPods === true ? "route" : undefined;
    }
    case RTM_NEWNEIGH.type:
    case RTM_DELNEIGH.type: {
      const { index } = decode(RTM_NEWNEIGH, message).header;
      return interest.deviceIndexes.has(index) ? "neighbour" : undefined;
    }
    case RTM_NEWNETCONF.type: {
      const { index = 0 } = decode(RTM_NEWNETCONF, message).attributes;
      const isWatched =
        index === NETCONFA_IFINDEX_ALL || index === interest.bridge?.index || interest.linkIndexes.has(index);
      return isWatched ? "setting" : undefined;
    }
    default:
      return undefined;
  }
}

/** What another process did carries its port; and nothing that this one does changes the underlay. */
function mayBeEcho(message: Message, interest: Interest | undefined): boolean {
  if (message.portId !== 0) return false;
  if (interest === undefined) return true;
  const isAbout = (index: number) => interest.linkIndexes.has(index) && !interest.deviceIndexes.has(index);
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

/** Pods on the bridge and pods with links of their own, or one of a kind that is about to go. */
function hasBothKinds({ bridge, cables }: Interest): boolean {
  return bridge !== undefined && cables !== undefined;
}

/** An ADD gives a pod's own link its address last: pods on the bridge are to reach the new one. */
function touchesGateway(message: Message, index: number, address: Address, { bridge, cables }: Interest): boolean {
  const isNew = message.type === RTM_NEWADDR.type;
  if (isNew && (bridge === undefined || index === bridge.index)) return false;
  const gateways = isNew ? bridge?.gateways : cables?.gateways;
  return gateways?.some((one) => isSameAddress(one, address)) === true;
}

/** The last pod of a kind takes along what the two kinds needed to reach each other. */
function endsPod(message: Message, { alias }: Link, bridge: BridgeInterest | undefined): boolean {
  return message.type === RTM_DELLINK.type && bridge !== undefined && isOfNetwork(alias, bridge.network);
}

/** Pods come and go all the time: only a bridge or a port that is not as it should be matters. */
function touchesBridge(message: Message, link: Link, bridge: BridgeInterest | undefined): boolean {
  if (bridge === undefined) return false;
  const isGone = message.type === RTM_DELLINK.type;
  if (isGone && bridge.outside.has(link.alias)) return true;
  const { family } = decode(RTM_NEWLINK, message).header;
  // Of a port: its settings, or that it is none any more; the link itself is told of by itself.
  if (family === AF_BRIDGE) return !isGone && link.masterIndex === bridge.index && link.port?.isHairpin === false;
  if (link.name === bridge.name || link.index === bridge.index)
    return isGone || !link.isUp || link.index !== bridge.index || link.mac !== bridge.mac;
  return !isGone && isOfNetwork(link.alias, bridge.network) && (!link.isUp || link.masterIndex !== bridge.index);
}

function touchesCable(
  message: Message,
  { alias, isUp, masterIndex }: Link,
  cables: CableInterest | undefined,
): boolean {
  if (message.type === RTM_DELLINK.type) return cables?.outside.has(alias) === true;
  const isEnd = cables !== undefined && isOfNetwork(alias, cables.network);
  return isEnd && masterIndex === 0 && !isUp;
}

export interface NotificationListener {
  /** Asked at each notification. Undefined while nothing is programmed yet: then everything counts. */
  interest(): Interest | undefined;
  /** `mayBeEcho`: the kernel may have done it because of what this process did. */
  onChange(reason: string, mayBeEcho: boolean): void;
  /** Notifications were lost: anything may have changed. */
  onOverrun(): void;
  /** The socket is of no use any more. */
  onBroken(error: Error): void;
}

/** Listens until the socket is closed. */
export function listenToKernel(socket: EventNetlinkSocket, listener: NotificationListener): void {
  socket.onDatagram((datagram) => {
    try {
      for (const message of splitDatagram(datagram)) {
        const interest = listener.interest();
        const reason = interest === undefined ? "kernel" : reasonToCompare(message, interest);
        if (reason !== undefined) listener.onChange(reason, mayBeEcho(message, interest));
      }
    } catch {
      // A message that cannot be read may be about anything; the comparison reads the tables themselves.
      listener.onChange("unreadable notification", true);
    }
  });
  socket.onError((error) => {
    if (isSystemError(error, "ENOBUFS")) listener.onOverrun();
    else listener.onBroken(error);
  });
  for (const group of GROUPS) socket.addMembership(group);
}
