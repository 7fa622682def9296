/**
 * Routes: parses the kernel's routes, and makes the requests that add, replace and remove them.
 */
import {
  type Address,
  addressBits,
  addressFromBytes,
  addressToBytes,
  type Family,
  formatAddress,
} from "../ip/address.ts";
import { formatPrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import { AF_INET, AF_INET6 } from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  lateRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  type ObjectIdentity,
  type Query,
  query,
  type Request,
  request,
} from "../netlink/message.ts";
import {
  RT_SCOPE,
  RT_TABLE_MAIN,
  RTM_DELROUTE,
  RTM_F_FIB_MATCH,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTN_UNICAST,
  RTNH_F_ONLINK,
  RTPROT_BOOT,
} from "../netlink/route.ts";
import { addressFamily } from "./address.ts";

/** A route with at most one next hop. */
export interface Route {
  /** Length 0 is the default route. */
  readonly destination: Prefix;
  /** An IPv4 route may have an IPv6 gateway. */
  readonly gateway?: Address | undefined;
  /** If 0 or absent, the kernel finds the link from the gateway. */
  readonly outputIndex?: number | undefined;
  /** RTPROT_*; RTPROT_BOOT if omitted. */
  readonly protocol?: number | undefined;
  /** RT_TABLE_MAIN if omitted. */
  readonly table?: number | undefined;
  /** If omitted: universe for IPv6 and for a route with a gateway, link otherwise. */
  readonly scope?: number | undefined;
  /** The metric; the kernel replaces 0 by 1024 for IPv6. */
  readonly priority?: number | undefined;
  /** The gateway is on the link even though no address of the link covers it. */
  readonly isOnlink?: boolean | undefined;
  readonly mtu?: number | undefined;
  readonly advmss?: number | undefined;
  readonly preferredSource?: Address | undefined;
  /** RTN_*; RTN_UNICAST if omitted. */
  readonly type?: number | undefined;
}

/** A route as the kernel reports it. Only properties that the route does not have are absent. */
export type ObservedRoute = Route & {
  readonly protocol: number;
  readonly table: number;
  readonly scope: number;
  readonly type: number;
  /** The route has more than one next hop; they are not listed here. */
  readonly isMultipath: boolean;
};

/** Parses RTM_NEWROUTE or RTM_DELROUTE. Returns `undefined` for families other than IP. */
export function parseRoute(message: Message): ObservedRoute | undefined {
  const { header, attributes } = decode(RTM_NEWROUTE, message);
  const family: Family | undefined = header.family === AF_INET ? 4 : header.family === AF_INET6 ? 6 : undefined;
  if (family === undefined) return undefined;
  const optionalAddress = (bytes: Uint8Array | undefined) =>
    bytes === undefined ? undefined : addressFromBytes(bytes);
  return {
    destination: {
      address: optionalAddress(attributes.destination) ?? { family, value: 0n },
      length: header.destinationLength,
    },
    gateway: optionalAddress(attributes.gateway ?? attributes.via?.address),
    outputIndex: attributes.outputIndex,
    protocol: header.protocol,
    table: attributes.table ?? header.table,
    scope: header.scope,
    priority: attributes.priority,
    isOnlink: (header.flags & RTNH_F_ONLINK) !== 0,
    mtu: attributes.metrics?.mtu,
    advmss: attributes.metrics?.advmss,
    preferredSource: optionalAddress(attributes.preferredSource),
    type: header.type,
    isMultipath: attributes.multipath !== undefined,
  };
}

/**
 * Parses a message as `parseRoute` does, but returns one route for each next hop of an IPv6 route: the kernel adds and
 * removes each next hop individually and only reports them together.
 */
export function parseRoutes(message: Message): ObservedRoute[] {
  const route = parseRoute(message);
  if (route === undefined) return [];
  if (!route.isMultipath || route.destination.address.family === 4) return [route];
  const { multipath = [] } = decode(RTM_NEWROUTE, message).attributes;
  return multipath.map(({ outputIndex, gateway }) => ({
    ...{ ...route, outputIndex, isMultipath: false },
    gateway: gateway === undefined ? undefined : addressFromBytes(gateway),
  }));
}

/** Dumps the routes of a family. Covers all tables, unless the socket checks strictly and `table` is given. */
export function routeDump(family: Family, table = 0): Query {
  return dumpRequest(
    RTM_GETROUTE,
    `ip -${family} route show table ${table === 0 ? "all" : table}`,
    { family: addressFamily(family) },
    { table: table === 0 ? undefined : table },
  );
}

/** Describes the packets of a route lookup. */
export interface RouteQuestion {
  /** The source address, which policy rules may match. */
  readonly source?: Address | undefined;
  /** The link on which the packet arrives; if omitted, the node itself sends the packet. */
  readonly inputIndex?: number | undefined;
  /** Return the matching table entry instead of the resulting route. [false] */
  readonly isEntry?: boolean;
}

/** Looks up the route to `destination`. Fails with ENETUNREACH or EHOSTUNREACH if there is none. */
export function getRoute(destination: Address, { source, inputIndex, isEntry = false }: RouteQuestion = {}): Query {
  const { family } = destination;
  const from = source === undefined ? "" : ` from ${formatAddress(source)}`;
  const by = inputIndex === undefined ? "" : ` iif index ${inputIndex}`;
  return query(
    RTM_GETROUTE,
    `ip route get ${isEntry ? "fibmatch " : ""}${formatAddress(destination)}${from}${by}`,
    {
      family: addressFamily(family),
      destinationLength: addressBits(family),
      sourceLength: source === undefined ? 0 : addressBits(family),
      flags: isEntry ? RTM_F_FIB_MATCH : 0,
    },
    {
      destination: addressToBytes(destination),
      source: source === undefined ? undefined : addressToBytes(source),
      inputIndex,
    },
  );
}

/** The metric of a route that states none, or 0 (IP6_RT_PRIO_USER). */
export const DEFAULT_METRIC: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 };

/**
 * Identifies a route by the kernel's key (family, table, destination, metric) and its output link. The kernel removes
 * routes together with their link, so a route through a recreated link is a new object, as its neighbours are.
 * Otherwise all routes through a device that another program removes repeatedly would count as contended, and weftd
 * would back off for each of them in addition to the device.
 */
export function routeObject({
  destination,
  table = RT_TABLE_MAIN,
  priority = 0,
  outputIndex = 0,
}: Pick<Route, "destination" | "table" | "priority" | "outputIndex">): ObjectIdentity {
  const { family } = destination.address;
  const metric = priority === 0 ? DEFAULT_METRIC[family] : priority;
  const place = `inet${family} table ${table} index ${outputIndex}`;
  return { kind: "route", key: `${place} ${formatPrefix(networkOf(destination))} metric ${metric}` };
}

/** Adds a route. Fails with EEXIST if any program has added a route with the same destination and metric. */
export function addRoute(route: Route): Request {
  return lateRequest(
    RTM_NEWROUTE,
    () => routeObject(route),
    () => `ip route add ${describeRoute(route)}`,
    () => routeMessage(route),
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * Adds a route next to existing ones to the same destination. For IPv4 the newest route has precedence; for IPv6 they
 * share the traffic. Fails with EEXIST if exactly this route exists.
 */
export function joinRoute(route: Route): Request {
  const text = () => `ip route prepend ${describeRoute(route)}`;
  return request(RTM_NEWROUTE, () => routeObject(route), text, ...routeMessage(route), NLM_F_CREATE);
}

/** Replaces the route with the same destination and metric in one step, or adds `route` if there is none. */
export function replaceRoute(route: Route): Request {
  return lateRequest(
    RTM_NEWROUTE,
    () => routeObject(route),
    () => `ip route replace ${describeRoute(route)}`,
    () => routeMessage(route),
    NLM_F_CREATE | NLM_F_REPLACE,
  );
}

/** Deletes a route. Fails with ESRCH if no route matches everything that `route` states. */
export function deleteRoute(route: Route): Request {
  const text = () => `ip route del ${describeRoute(route)}`;
  return request(RTM_DELROUTE, () => routeObject(route), text, ...routeMessage(route));
}

function routeMessage(route: Route) {
  const { destination, gateway } = route;
  const { family } = destination.address;
  const table = route.table ?? RT_TABLE_MAIN;
  const defaultScope = gateway === undefined && family === 4 ? RT_SCOPE.link : RT_SCOPE.universe;
  const hasMetrics = route.mtu !== undefined || route.advmss !== undefined;
  return [
    {
      family: addressFamily(family),
      destinationLength: destination.length,
      // A table number above 255 does not fit the header: the header has RT_TABLE_UNSPEC, and RTA_TABLE has the number.
      table: table < 256 ? table : 0,
      protocol: route.protocol ?? RTPROT_BOOT,
      scope: route.scope ?? defaultScope,
      type: route.type ?? RTN_UNICAST,
      flags: route.isOnlink === true ? RTNH_F_ONLINK : 0,
    },
    {
      destination: destination.length === 0 ? undefined : addressToBytes(destination.address),
      outputIndex: route.outputIndex,
      ...(gateway !== undefined && gatewayAttribute(family, gateway)),
      priority: route.priority,
      preferredSource: route.preferredSource === undefined ? undefined : addressToBytes(route.preferredSource),
      metrics: hasMetrics ? { mtu: route.mtu, advmss: route.advmss } : undefined,
      table: table < 256 ? undefined : table,
    },
  ] as const;
}

/**
 * A gateway of the other family uses another attribute; the kernel accepts IPv6 gateways of IPv4 routes since Linux
 * 5.2.
 */
function gatewayAttribute(family: Family, gateway: Address) {
  const address = addressToBytes(gateway);
  return gateway.family === family ? { gateway: address } : { via: { family: addressFamily(gateway.family), address } };
}

/** Formats a route as `ip route` does. */
export function describeRoute(route: Route): string {
  const { destination } = route;
  const words = [destination.length === 0 ? "default" : formatPrefix(destination)];
  if (destination.length === 0 && destination.address.family === 6) words.unshift("-6");
  if (route.gateway !== undefined) {
    const isOther = route.gateway.family !== destination.address.family;
    words.push(
      "via",
      ...(isOther ? [`inet${route.gateway.family === 6 ? "6" : ""}`] : []),
      formatAddress(route.gateway),
    );
  }
  if (route.outputIndex !== undefined) words.push("dev", `index ${route.outputIndex}`);
  if (route.isOnlink === true) words.push("onlink");
  if (route.protocol !== undefined) words.push("proto", String(route.protocol));
  if (route.priority !== undefined) words.push("metric", String(route.priority));
  if (route.table !== undefined && route.table !== RT_TABLE_MAIN) words.push("table", String(route.table));
  if (route.mtu !== undefined) words.push("mtu", String(route.mtu));
  if (route.advmss !== undefined) words.push("advmss", String(route.advmss));
  return words.join(" ");
}
