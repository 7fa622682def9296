/**
 * Which kernel notifications concern this node's pods. A busy node has thousands of them (pods' veths come and go), so each
 * is looked at for whether it can touch what weftd keeps. What slips through is found by the comparison that follows sooner
 * or later anyway.
 */
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { type Address, isSameAddress } from "../../../pkg/ip/address.ts";
import { contains, formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { parseLinkAddress } from "../../../pkg/kernel/address.ts";
import { type Link, parseLink } from "../../../pkg/kernel/link.ts";
import { isOfNetwork } from "../../../pkg/kernel/owner.ts";
import { parseRoute } from "../../../pkg/kernel/route.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../../pkg/netlink/address.ts";
import { AF_BRIDGE, RTM_DELLINK, RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import { decode, type Message } from "../../../pkg/netlink/message.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../../../pkg/netlink/route.ts";

/** The pods' bridge as the last pass left it, and whose pods its ports are. */
export interface BridgeFilter {
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
export interface RoutedPodFilter {
  /** The CNI network's name, which the alias of each host's end tells. */
  readonly network: string;
  /** On each host's end, by itself. */
  readonly gateways: readonly Address[];
  /** Each pod's address in them has a route. */
  readonly subnets: readonly Prefix[];
  /** Marks of pods outside the node's subnets. */
  readonly outside: ReadonlySet<string>;
}

/** What leads to this node's pods. */
export interface AttachFilter {
  /** Undefined where no pods are on one, and none will be. */
  readonly bridge: BridgeFilter | undefined;
  /** Undefined where all pods are on the bridge. */
  readonly routed: RoutedPodFilter | undefined;
  /** This node's pod subnets, as `formatPrefix` writes them: the kernel has a route to each by the bridge. */
  readonly subnets: ReadonlySet<string>;
  /** The port of the socket that programs: what carries it is the echo of our own doing. */
  readonly ownPort: number;
}

/** Why `message` calls for a comparison; undefined when it does not. */
export function attachReason(message: Message, filter: AttachFilter): string | undefined {
  if (message.portId === filter.ownPort && filter.ownPort !== 0) return undefined;
  switch (message.type) {
    case RTM_NEWLINK.type:
    case RTM_DELLINK.type: {
      const link = parseLink(message);
      const isPods =
        touchesBridge(message, link, filter.bridge) ||
        touchesRoutedPod(message, link, filter.routed) ||
        (hasBothKinds(filter) && endsPod(message, link, filter.bridge));
      return isPods ? `link ${link.name}` : undefined;
    }
    case RTM_NEWADDR.type:
    case RTM_DELADDR.type: {
      const { index } = decode(RTM_NEWADDR, message).header;
      if (index === filter.bridge?.index && message.type === RTM_DELADDR.type) return "address";
      const address = parseLinkAddress(message)?.prefix.address;
      return address && touchesGateway(message, index, address, filter) ? "address" : undefined;
    }
    case RTM_NEWROUTE.type:
    case RTM_DELROUTE.type: {
      const route = parseRoute(message);
      if (route === undefined) return undefined;
      const { destination } = route;
      // To a pod that was there before the node got other subnets.
      const isOnBridge = route.protocol === RTPROT_WEFT && route.outputIndex === filter.bridge?.index;
      const isPods =
        message.type === RTM_DELROUTE.type &&
        filter.routed?.subnets.some((subnet) => contains(subnet, destination.address));
      return isOnBridge || isPods === true || filter.subnets.has(formatPrefix(destination)) ? "route" : undefined;
    }
    default:
      return undefined;
  }
}

/** Pods on the bridge and pods with links of their own, or one of a kind that is about to go. */
function hasBothKinds({ bridge, routed }: AttachFilter): boolean {
  return bridge !== undefined && routed !== undefined;
}

/** An ADD gives a pod's own link its address last: pods on the bridge are to reach the new one. */
function touchesGateway(message: Message, index: number, address: Address, { bridge, routed }: AttachFilter): boolean {
  const isNew = message.type === RTM_NEWADDR.type;
  if (isNew && (bridge === undefined || index === bridge.index)) return false;
  const gateways = isNew ? bridge?.gateways : routed?.gateways;
  return gateways?.some((one) => isSameAddress(one, address)) === true;
}

/** The last pod of a kind takes along what the two kinds needed to reach each other. */
function endsPod(message: Message, { alias }: Link, bridge: BridgeFilter | undefined): boolean {
  return message.type === RTM_DELLINK.type && bridge !== undefined && isOfNetwork(alias, bridge.network);
}

/** Pods come and go all the time: only a bridge or a port that is not as it should be matters. */
function touchesBridge(message: Message, link: Link, bridge: BridgeFilter | undefined): boolean {
  if (bridge === undefined) return false;
  const isGone = message.type === RTM_DELLINK.type;
  if (isGone && bridge.outside.has(link.alias)) return true;
  const { family } = decode(RTM_NEWLINK, message).header;
  // Of a port: its settings, or that it is none any more; the link itself has a message of its own.
  if (family === AF_BRIDGE) return !isGone && link.masterIndex === bridge.index && link.port?.isHairpin === false;
  if (link.name === bridge.name || link.index === bridge.index)
    return isGone || !link.isUp || link.index !== bridge.index || link.mac !== bridge.mac;
  return !isGone && isOfNetwork(link.alias, bridge.network) && (!link.isUp || link.masterIndex !== bridge.index);
}

function touchesRoutedPod(
  message: Message,
  { alias, isUp, masterIndex }: Link,
  routed: RoutedPodFilter | undefined,
): boolean {
  if (message.type === RTM_DELLINK.type) return routed?.outside.has(alias) === true;
  const isEnd = routed !== undefined && isOfNetwork(alias, routed.network);
  return isEnd && masterIndex === 0 && !isUp;
}
