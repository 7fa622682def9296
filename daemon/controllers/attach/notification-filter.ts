/**
 * Selects the kernel notifications that concern this node's pods. A busy node has thousands of notifications as pods'
 * veths are created and deleted, so each is checked for whether it can affect what weftd maintains. The next periodic
 * comparison finds what the filter misses.
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

/** The pods' bridge as the last pass left it, and the network of its ports. */
export interface BridgeFilter {
  readonly name: string;
  /** 0 if there is no bridge. */
  readonly index: number;
  /** Its hardware address. */
  readonly mac: string;
  /** The CNI network's name, which is part of each port's alias. */
  readonly network: string;
  /** Addresses of the bridge. If one appears on another link, a pod with a link of its own was added. */
  readonly gateways: readonly Address[];
  /** Marks of pods outside the node's subnets. When the last of them is deleted, so is what weftd keeps for them. */
  readonly outside: ReadonlySet<string>;
}

/** Pods with a link of their own. */
export interface RoutedPodFilter {
  /** The CNI network's name, which is part of the alias of each host's end. */
  readonly network: string;
  /** Addresses of each host's end. */
  readonly gateways: readonly Address[];
  /** Each pod's address in these subnets has a route. */
  readonly subnets: readonly Prefix[];
  /** Marks of pods outside the node's subnets. */
  readonly outside: ReadonlySet<string>;
}

/** Selects notifications about the links, addresses and routes of this node's pods. */
export interface AttachFilter {
  /** Undefined if no pods are on a bridge and none will be. */
  readonly bridge: BridgeFilter | undefined;
  /** Undefined if all pods are on the bridge. */
  readonly routed: RoutedPodFilter | undefined;
  /** This node's pod subnets, as `formatPrefix` formats them. The kernel has a route to each through the bridge. */
  readonly subnets: ReadonlySet<string>;
  /** The port of the socket that programs. Messages with this port announce weftd's own changes. */
  readonly ownPort: number;
}

/** Returns why `message` triggers a comparison; undefined if it does not. */
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
      // A route to a pod that was attached before the node got other subnets.
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

/** True if the node has pods on the bridge and pods with links of their own, or will have both. */
function hasBothKinds({ bridge, routed }: AttachFilter): boolean {
  return bridge !== undefined && routed !== undefined;
}

/**
 * True for a gateway address. An ADD gives a pod's own link its address last; then the bridge must answer for the new
 * pod.
 */
function touchesGateway(message: Message, index: number, address: Address, { bridge, routed }: AttachFilter): boolean {
  const isNew = message.type === RTM_NEWADDR.type;
  if (isNew && (bridge === undefined || index === bridge.index)) return false;
  const gateways = isNew ? bridge?.gateways : routed?.gateways;
  return gateways?.some((one) => isSameAddress(one, address)) === true;
}

/**
 * True if a pod on the bridge was deleted. If it was the last of its kind, the proxying between the two kinds must end.
 */
function endsPod(message: Message, { alias }: Link, bridge: BridgeFilter | undefined): boolean {
  return message.type === RTM_DELLINK.type && bridge !== undefined && isOfNetwork(alias, bridge.network);
}

/**
 * True if the bridge or a port is not as desired. Other messages do not matter, since pods are created and deleted all
 * the time.
 */
function touchesBridge(message: Message, link: Link, bridge: BridgeFilter | undefined): boolean {
  if (bridge === undefined) return false;
  const isGone = message.type === RTM_DELLINK.type;
  if (isGone && bridge.outside.has(link.alias)) return true;
  const { family } = decode(RTM_NEWLINK, message).header;
  // A message about a port: its settings, or its removal from the bridge. The link itself has another message.
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
