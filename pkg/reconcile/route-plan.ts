/**
 * Compares our routes with the kernel's: which ones weft may change, which belong to other programs. Pure functions.
 */
import { RTPROT_WEFT } from "../footprint.ts";
import { addressBits, isSameAddress } from "../ip/address.ts";
import { contains, formatPrefix } from "../ip/prefix.ts";
import {
  addRoute,
  DEFAULT_METRIC,
  deleteRoute,
  describeRoute,
  type ObservedRoute,
  type Route,
  replaceRoute,
} from "../kernel/route.ts";
import type { Request } from "../netlink/message.ts";
import { RT_TABLE_MAIN, RTN_UNICAST } from "../netlink/route.ts";

/**
 * The protocol of a route without a stated protocol: added manually, or by flanneld (include/uapi/linux/rtnetlink.h).
 */
const RTPROT_BOOT = 3;

export interface RoutePlan {
  readonly add: readonly Request[];
  readonly remove: readonly Request[];
  /** Conflicts with other programs' routes, as messages for an operator. */
  readonly conflicts: readonly string[];
}

/**
 * Plans routes. Ours are routes with our protocol, except those to this node's own pods, and all routes by gateway
 * through our own devices (of a predecessor). Another program's route to the same subnet with the same metric is not
 * changed: if it has the same next hop, no route of ours is needed; otherwise it is a conflict. `adopt` is for taking a
 * node over from flanneld: a route with the same next hop and without a stated protocol becomes ours.
 */
export function planRoutes(
  wanted: readonly Route[],
  observed: readonly ObservedRoute[],
  ownDevices: ReadonlySet<number>,
  { adopt = false }: { readonly adopt?: boolean } = {},
): RoutePlan {
  const candidates = observed.filter(({ table, type }) => table === RT_TABLE_MAIN && type === RTN_UNICAST);
  const isOurs = (route: ObservedRoute) => {
    const isByOwn = ownDevices.has(route.outputIndex ?? 0);
    return route.protocol === RTPROT_WEFT ? isByOwn || !isPods(route) : isByOwn && route.gateway !== undefined;
  };
  const rivals = bySubnet(candidates.filter(hasDefaultMetric));
  const wide = candidates.filter(
    (route) => route.destination.length > 0 && route.destination.length < 128 && !isOurs(route),
  );
  const add: Request[] = [];
  const conflicts: string[] = [];
  const kept = new Set<ObservedRoute>();
  for (const route of wanted) {
    const held = rivals.get(formatPrefix(route.destination)) ?? [];
    const ours = held.filter(isOurs);
    const [foreign, ...otherForeign] = held.filter((other) => !isOurs(other));
    const same = ours.find((other) => isSame(other, route));
    if (same !== undefined) {
      kept.add(same);
    } else if (adopt && held.length === 1 && foreign?.protocol === RTPROT_BOOT && leadsTheSameWay(foreign, route)) {
      add.push(replaceRoute(route));
    } else if (foreign !== undefined) {
      // If routes share destination and metric, the kernel replaces the first one, whatever its owner. So replace none.
      const isServed = [foreign, ...otherForeign].some((other) => leadsTheSameWay(other, route));
      if (!isServed) conflicts.push(conflictText(route, foreign));
    } else if (ours[0] !== undefined) {
      kept.add(ours[0]);
      add.push(...overGateway(route, replaceRoute(route), [ours[0]]));
    } else {
      add.push(...overGateway(route, addRoute(route), wide));
    }
  }
  return { add, conflicts, remove: candidates.filter((route) => isOurs(route) && !kept.has(route)).map(removal) };
}

/** True for a route to a pod of this node, which former-gateways.ts manages. */
function isPods({ destination, gateway }: Route): boolean {
  return gateway === undefined && destination.length === addressBits(destination.address.family);
}

/**
 * Adds a temporary route to the gateway if a change needs one. The kernel refuses an IPv6 route by an onlink gateway if
 * an existing route, including the one to be replaced, leads to that gateway through another device
 * (ip6_route_check_nh_onlink). In this case a route to the gateway alone exists during the change.
 */
function overGateway(route: Route, change: Request, standing: readonly ObservedRoute[]): readonly Request[] {
  const [host] = gatewayRoutes(route);
  if (host === undefined) return [change];
  const isElsewhere = standing.some(
    (other) => other.outputIndex !== route.outputIndex && contains(other.destination, host.destination.address),
  );
  return isElsewhere ? [replaceRoute(host), change, deleteRoute(host)] : [change];
}

/** The temporary route to the gateway that a change of `route` may need; empty if it never needs one. */
export function gatewayRoutes({ gateway, outputIndex, isOnlink, protocol }: Route): readonly Route[] {
  if (isOnlink !== true || gateway === undefined || gateway.family === 4) return [];
  return [{ destination: { address: gateway, length: 128 }, outputIndex, protocol }];
}

function bySubnet(routes: readonly ObservedRoute[]): ReadonlyMap<string, readonly ObservedRoute[]> {
  const found = new Map<string, ObservedRoute[]>();
  for (const route of routes) {
    const subnet = formatPrefix(route.destination);
    const others = found.get(subnet);
    if (others === undefined) found.set(subnet, [route]);
    else others.push(route);
  }
  return found;
}

function removal(route: ObservedRoute): Request {
  const { destination, gateway, outputIndex, protocol, priority, scope } = route;
  return deleteRoute({ destination, gateway, outputIndex, protocol, priority, scope });
}

/** True if the route has the metric of a route that states none. */
export function hasDefaultMetric({ destination, priority = 0 }: Route): boolean {
  return priority === DEFAULT_METRIC[destination.address.family];
}

/** True if no other program has changed the route. */
function isSame(held: ObservedRoute, wanted: Route): boolean {
  return (
    held.protocol === RTPROT_WEFT &&
    leadsTheSameWay(held, wanted) &&
    held.isOnlink === (wanted.isOnlink ?? false) &&
    held.mtu === undefined &&
    held.advmss === undefined &&
    held.preferredSource === undefined
  );
}

function leadsTheSameWay(held: ObservedRoute, wanted: Route): boolean {
  return (
    !held.isMultipath &&
    held.outputIndex === wanted.outputIndex &&
    held.gateway !== undefined &&
    wanted.gateway !== undefined &&
    isSameAddress(held.gateway, wanted.gateway)
  );
}

function conflictText(wanted: Route, foreign: ObservedRoute): string {
  return (
    `the route "${describeRoute(foreign)}" is not weft's and conflicts with "${describeRoute(wanted)}": ` +
    "weft does not change it, and the peer's pods may be unreachable; remove it, or give it another metric"
  );
}
