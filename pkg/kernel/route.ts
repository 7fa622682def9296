/**
 * Routes: what the kernel holds, and the requests that add, replace and remove them.
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

/** A route with one next hop (or none). */
export interface Route {
  /** Length 0 is the default route. */
  readonly destination: Prefix;
  /** Of an IPv4 route it may be an IPv6 address. */
  readonly gateway?: Address | undefined;
  /** 0 or absent: the kernel finds the link from the gateway. */
  readonly outputIndex?: number | undefined;
  /** RTPROT_*; RTPROT_BOOT when left out. */
  readonly protocol?: number | undefined;
  /** RT_TABLE_MAIN when left out. */
  readonly table?: number | undefined;
  /** Left out: universe with a gateway (and always for IPv6), link without one. */
  readonly scope?: number | undefined;
  /** The metric; IPv6 turns 0 into 1024. */
  readonly priority?: number | undefined;
  /** The gateway is on the link though no address of the link covers it. */
  readonly isOnlink?: boolean | undefined;
  readonly mtu?: number | undefined;
  readonly advmss?: number | undefined;
  readonly preferredSource?: Address | undefined;
  /** RTN_*; RTN_UNICAST when left out. */
  readonly type?: number | undefined;
}

/** A route read back: nothing left out but what the route does not have. */
export type ObservedRoute = Route & {
  readonly protocol: number;
  readonly table: number;
  readonly scope: number;
  readonly type: number;
  /** More than one next hop: those are not listed here. */
  readonly isMultipath: boolean;
};

/** Reads RTM_NEWROUTE or RTM_DELROUTE; `undefined` for families that are not IP. */
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
 * As `parseRoute`, but an IPv6 route of several next hops is as many routes: the kernel adds and removes each by itself,
 * and only tells of them together.
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

/** All routes of a family, in all tables unless the socket checks strictly and `table` is given. */
export function routeDump(family: Family, table = 0): Query {
  return dumpRequest(
    RTM_GETROUTE,
    `ip -${family} route show table ${table === 0 ? "all" : table}`,
    { family: addressFamily(family) },
    { table: table === 0 ? undefined : table },
  );
}

/** Whose packets are asked about. */
export interface RouteQuestion {
  /** The source, which rules may ask for. */
  readonly source?: Address | undefined;
  /** The link by which the packet comes in; without it the packet is the node's own. */
  readonly inputIndex?: number | undefined;
  /** The table's entry is wanted, not the way that follows from it. [false] */
  readonly isEntry?: boolean;
}

/** The way that packets take to `destination`; ENETUNREACH (or EHOSTUNREACH) when there is none. */
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
 * By the kernel's key (family, table, destination, metric) and the link that it leads by: routes go with their link, so
 * the one by a link that is made anew is another one, as its neighbours are. Else all routes by a device that some program
 * removes again and again would count as contended, and rest beside it.
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

/** EEXIST when a route to the same destination with the same metric is there, whoever made it. */
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
 * Beside one to the same destination by another way: for IPv4 the newer goes first, for IPv6 they share. EEXIST when this
 * very route is there.
 */
export function joinRoute(route: Route): Request {
  const text = `ip route prepend ${describeRoute(route)}`;
  return request(RTM_NEWROUTE, () => routeObject(route), text, ...routeMessage(route), NLM_F_CREATE);
}

/** Puts `route` in the place of the one with the same destination and metric, in one step; adds it where there is none. */
export function replaceRoute(route: Route): Request {
  return lateRequest(
    RTM_NEWROUTE,
    () => routeObject(route),
    () => `ip route replace ${describeRoute(route)}`,
    () => routeMessage(route),
    NLM_F_CREATE | NLM_F_REPLACE,
  );
}

/** ESRCH when no route matches all that `route` states. */
export function deleteRoute(route: Route): Request {
  const text = `ip route del ${describeRoute(route)}`;
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
      // Tables above 255 do not fit the header: RT_TABLE_UNSPEC there, the number in RTA_TABLE.
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

/** One of the other family is told in another attribute; the kernel takes IPv6 gateways of IPv4 routes from 5.2 on. */
function gatewayAttribute(family: Family, gateway: Address) {
  const address = addressToBytes(gateway);
  return gateway.family === family ? { gateway: address } : { via: { family: addressFamily(gateway.family), address } };
}

/** As `ip route` writes it. */
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
