/** Reads kernel state for the executables, with blocking requests. */
import type { Family } from "../ip/address.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isGoneErrno, isNetlinkError } from "../netlink/errors.ts";
import { addressDump, type LinkAddress, parseLinkAddress } from "./address.ts";
import { getLink, type Link, mayNameLink, parseLink } from "./link.ts";
import { type ObservedProxy, parseProxy, proxyDump } from "./neighbour-proxy.ts";
import { type ObservedRoute, parseRoutes, routeDump } from "./route.ts";
import { type ObservedRule, parseRule, ruleDump } from "./rule.ts";

/** Finds a link by name, alternative name or index. Returns `undefined` if it does not exist. */
export function findLink(netlink: BlockingNetlink, link: string | number): Link | undefined {
  if (typeof link === "string" && !mayNameLink(link)) return undefined;
  const [reply] = netlink.exchange([getLink(link)]);
  // Whether a name is free is asked at each ADD: the absence of the link is not an error then.
  if (reply === undefined || isGoneErrno(reply.errno)) return undefined;
  if (reply.error !== undefined) throw reply.error;
  const message = reply.messages[0];
  return message === undefined ? undefined : parseLink(message);
}

/** Reads the addresses of a link. */
export function readAddresses(netlink: BlockingNetlink, index: number): LinkAddress[] {
  return netlink.dump(addressDump(undefined, index)).flatMap((message) => {
    const address = parseLinkAddress(message);
    return address !== undefined && address.index === index ? [address] : [];
  });
}

/** Reads the addresses of `family` that the kernel answers for on behalf of other hosts. */
export function readProxies(netlink: BlockingNetlink, family: Family): ObservedProxy[] {
  return netlink.dump(proxyDump(family)).flatMap((message) => parseProxy(message) ?? []);
}

const FAMILIES = [4, 6] as const;

/** Reads all routes of the namespace, in all tables. */
export function readRoutes(netlink: BlockingNetlink): ObservedRoute[] {
  return FAMILIES.flatMap((family) => {
    const routes = netlink.dump(routeDump(family)).flatMap(parseRoutes);
    // A kernel without IPv6 answers with the routes of other families.
    return routes.filter(({ destination }) => destination.address.family === family);
  });
}

/** Reads all rules of the namespace. */
export function readRules(netlink: BlockingNetlink): ObservedRule[] {
  return FAMILIES.flatMap((family) => {
    try {
      return netlink.dump(ruleDump(family)).flatMap((message) => parseRule(message) ?? []);
    } catch (error) {
      // The kernel has no IPv6.
      if (family === 6 && isNetlinkError(error, "EAFNOSUPPORT", "EOPNOTSUPP")) return [];
      throw error;
    }
  });
}
