/** CHECK of what ADD made in the pod. What others added later is not looked at. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Result, ResultInterface } from "../cni/result.ts";
import { isSameAddress } from "../ip/address.ts";
import { formatPrefix, isSamePrefix, type Prefix } from "../ip/prefix.ts";
import type { Link } from "../kernel/link.ts";
import { findLink, readAddresses, readRoutes } from "../kernel/read.ts";
import { describeRoute, type ObservedRoute, type Route } from "../kernel/route.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_UNSPEC } from "../netlink/route.ts";
import { statedRoutes } from "./routes.ts";

/** What a CHECK that fails throws. */
export function wrong(what: string): CniError {
  return new CniError(ErrorCode.internal, `CHECK: ${what}`);
}

/**
 * What the pod's interface must be, besides what prevResult says of it. Its MTU is not looked at: a plugin behind in the
 * chain (tuning), or the pod itself, may have changed it.
 */
export interface ExpectedInterface {
  /** The device's kind as `ip -d link` shows it: "veth", "macvlan"; any when left out. */
  readonly kind?: string;
  /** False for an interface that ADD leaves down, and others may bring up. */
  readonly isUp?: boolean;
}

/** The pod's interface with its addresses and routes, as prevResult tells of them. Throws `CniError`. */
export function checkInterface(
  pod: BlockingNetlink,
  request: CniRequest,
  previous: Result,
  expected: ExpectedInterface,
): Link {
  const { ifName, netnsPath } = request;
  const where = `${ifName} in ${pod.where}`;
  const at = previous.interfaces.findIndex((entry) => entry.name === ifName && entry.sandbox === netnsPath);
  const told = previous.interfaces[at];
  if (told === undefined) throw wrong(`prevResult names no interface ${ifName} in ${netnsPath}`);
  const link = findLink(pod, ifName);
  if (link === undefined) throw wrong(`the interface ${where} is missing`);
  if (expected.kind !== undefined && link.kind !== expected.kind) {
    throw wrong(`the interface ${where} is no ${expected.kind} but ${link.kind || "a physical device"}`);
  }
  if (expected.isUp !== false && !link.isUp) throw wrong(`the interface ${where} is down`);
  checkMac(link, told, where);
  const ips = previous.ips.filter((ip) => ip.interface === undefined || ip.interface === at);
  checkAddresses(
    pod,
    link,
    ips.map(({ address }) => address),
    where,
  );
  checkRoutes(pod, statedRoutes(previous.routes));
  return link;
}

/** Every one of `addresses` is on the link, with its length; others may be too. */
export function checkAddresses(
  netlink: BlockingNetlink,
  link: Link,
  addresses: readonly Prefix[],
  where: string,
): void {
  const held = readAddresses(netlink, link.index);
  for (const address of addresses) {
    if (!held.some(({ prefix }) => isSamePrefix(prefix, address))) {
      throw wrong(`the address ${formatPrefix(address)} is missing on ${where}`);
    }
  }
}

/** Every one of `routes` is in the namespace; others may be too. */
export function checkRoutes(netlink: BlockingNetlink, routes: readonly Route[]): void {
  const observed = readRoutes(netlink);
  for (const route of routes) {
    if (!observed.some((candidate) => isSameRoute(candidate, route))) {
      throw wrong(`the route "${describeRoute(route)}" is missing in ${netlink.where}`);
    }
  }
}

/** The hardware address that prevResult tells, where it tells one. */
export function checkMac(link: Link, told: ResultInterface, where: string): void {
  if (told.mac !== undefined && told.mac !== "" && told.mac.toLowerCase() !== link.mac) {
    throw wrong(`the hardware address of ${where} is ${link.mac}: expected ${told.mac}`);
  }
}

/** From the main table, a plugin behind in the chain may have moved the route to one of its own (sbr, vrf). */
function isWantedTable({ table }: ObservedRoute, wanted: number = RT_TABLE_MAIN): boolean {
  const isMain = wanted === RT_TABLE_MAIN || wanted === RT_TABLE_UNSPEC;
  return isMain ? table !== RT_TABLE_LOCAL : table === wanted;
}

/** What `wanted` states holds of `candidate`; a metric it does not state may be the kernel's own default. */
function isSameRoute(candidate: ObservedRoute, wanted: Route): boolean {
  const sameGateway =
    wanted.gateway === undefined ||
    (candidate.gateway !== undefined && isSameAddress(candidate.gateway, wanted.gateway));
  return (
    sameGateway &&
    isSamePrefix(candidate.destination, wanted.destination) &&
    (wanted.outputIndex === undefined || candidate.outputIndex === wanted.outputIndex) &&
    isWantedTable(candidate, wanted.table) &&
    (wanted.priority === undefined || wanted.priority === 0 || candidate.priority === wanted.priority)
  );
}
