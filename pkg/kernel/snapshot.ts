/**
 * The kernel's state in one namespace that determines a node's routes to pods: links, addresses, routes, neighbours and
 * forwarding entries, from one sequence of dumps. Controllers that plan at the same time share one snapshot.
 */
import type { Family } from "../ip/address.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import type { Message, Query } from "../netlink/message.ts";
import { addressDump, type LinkAddress, parseLinkAddress } from "./address.ts";
import { type Link, linkDump, parseLink } from "./link.ts";
import {
  forwardingDump,
  neighbourDump,
  type ObservedForwarding,
  type ObservedNeighbour,
  parseForwarding,
  parseNeighbour,
} from "./neighbour.ts";
import { type ObservedRoute, parseRoute, routeDump } from "./route.ts";

export interface KernelSnapshot {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly ObservedRoute[];
  readonly neighbours: readonly ObservedNeighbour[];
  readonly forwarding: readonly ObservedForwarding[];
}

/** The dumps that `parseSnapshot` expects, in its order. */
export function snapshotDumps(): readonly Query[] {
  return [linkDump(), addressDump(), routeDump(4), routeDump(6), neighbourDump(4), neighbourDump(6), forwardingDump()];
}

/** Parses a snapshot; `replies` has the messages of each dump of `snapshotDumps`. */
export function parseSnapshot(replies: readonly (readonly Message[])[]): KernelSnapshot {
  const [links = [], addresses = [], routes4 = [], routes6 = [], neighbours4 = [], neighbours6 = [], forwarding = []] =
    replies;
  return {
    links: links.map(parseLink),
    addresses: addresses.flatMap((message) => parseLinkAddress(message) ?? []),
    routes: [...routesOf(4, routes4), ...routesOf(6, routes6)],
    neighbours: [...neighbours4, ...neighbours6].flatMap((message) => parseNeighbour(message) ?? []),
    forwarding: forwarding.flatMap((message) => parseForwarding(message) ?? []),
  };
}

/**
 * Keeps the routes of `family`. A kernel without IPv6 (ipv6.disable=1) answers a dump of IPv6 routes with its IPv4
 * routes.
 */
function routesOf(family: Family, messages: readonly Message[]): ObservedRoute[] {
  return messages.flatMap((message) => {
    const route = parseRoute(message);
    return route?.destination.address.family === family ? [route] : [];
  });
}

/** Reads a snapshot with blocking requests. */
export function readSnapshot(netlink: BlockingNetlink): KernelSnapshot {
  return parseSnapshot(snapshotDumps().map((request) => netlink.dump(request)));
}
