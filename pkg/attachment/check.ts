/** CHECK for what ADD made in the pod. Ignores what other plugins or the pod added later. */
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

/** Returns the error of a failed CHECK. */
export function wrong(what: string): CniError {
  return new CniError(ErrorCode.internal, `CHECK: ${what}`);
}

/**
 * The required state of the pod's interface, in addition to prevResult. The MTU is not compared: a later plugin in the
 * chain (tuning) or the pod itself may have changed it.
 */
export interface ExpectedInterface {
  /** The device's kind as `ip -d link` shows it: "veth", "macvlan". Undefined accepts any kind. */
  readonly kind?: string;
  /** False for an interface that ADD leaves down and another program may bring up. */
  readonly isUp?: boolean;
}

/** Compares the pod's interface, its addresses and its routes with prevResult. Throws `CniError`. */
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
  if (told === undefined) throw wrong(`prevResult has no interface ${ifName} in ${netnsPath}`);
  const link = findLink(pod, ifName);
  if (link === undefined) throw wrong(`the interface ${where} is missing`);
  if (expected.kind !== undefined && link.kind !== expected.kind) {
    throw wrong(`the interface ${where} is of the kind ${link.kind || "physical"}: expected ${expected.kind}`);
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

/** Checks that all `addresses` are on the link, with their prefix lengths. Other addresses are allowed. */
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

/** Checks that all `routes` are in the namespace. Other routes are allowed. */
export function checkRoutes(netlink: BlockingNetlink, routes: readonly Route[]): void {
  const observed = readRoutes(netlink);
  for (const route of routes) {
    if (!observed.some((candidate) => isSameRoute(candidate, route))) {
      throw wrong(`the route "${describeRoute(route)}" is missing in ${netlink.where}`);
    }
  }
}

/** Checks the hardware address if prevResult has one. */
export function checkMac(link: Link, told: ResultInterface, where: string): void {
  if (told.mac !== undefined && told.mac !== "" && told.mac.toLowerCase() !== link.mac) {
    throw wrong(`the hardware address of ${where} is ${link.mac}: expected ${told.mac}`);
  }
}

/** A later plugin in the chain (sbr, vrf) may have moved a route from the main table to a table of its own. */
function isWantedTable({ table }: ObservedRoute, wanted: number = RT_TABLE_MAIN): boolean {
  const isMain = wanted === RT_TABLE_MAIN || wanted === RT_TABLE_UNSPEC;
  return isMain ? table !== RT_TABLE_LOCAL : table === wanted;
}

/**
 * True if `candidate` has all properties that `wanted` specifies. If `wanted` has no metric, the kernel may have set a
 * default.
 */
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
