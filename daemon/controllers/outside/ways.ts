/**
 * Computes the routes from a host outside the cluster to pods: plain routes to nodes on one of its links, and routes
 * via one forwarding node to all others. Pure.
 */

import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { type Address, addressKey, type Family, formatAddress } from "../../../pkg/ip/address.ts";
import { contains, formatPrefix, networkOf, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import type { ObservedRoute, Route } from "../../../pkg/kernel/route.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST } from "../../../pkg/netlink/route.ts";
import type { Via } from "../../outside-options.ts";

export interface OutsideCluster {
  readonly nodes: readonly ClusterNode[];
  readonly via: Via | undefined;
  /** The ranges of ClusterIPs. */
  readonly serviceRanges: readonly Prefix[];
}

export interface OutsideKernel {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly ObservedRoute[];
}

export interface OutsideWays {
  readonly routes: readonly Route[];
  /** Nodes whose pods are unreachable, with the reason, in words for an operator. */
  readonly problems: readonly string[];
}

/** The next hop to a node. */
interface Hop {
  readonly gateway: Address;
  readonly outputIndex: number;
}

export function outsideWays({ nodes, via, serviceRanges }: OutsideCluster, kernel: OutsideKernel): OutsideWays {
  const routes: Route[] = [];
  const problems: string[] = [];
  const forwarder = addressesOfVia(via, nodes);
  const viaHop = (family: Family) => hopTo(forwarder, family, kernel);
  if (via !== undefined && ([4, 6] as const).every((family) => viaHop(family) === undefined))
    problems.push(viaProblem(via, forwarder));
  const families = familiesOf(kernel);
  for (const node of nodes) {
    const addresses = addressesOf(node);
    const unreached = node.podCidrs.filter((subnet) => {
      const { family } = subnet.address;
      // Without an address of the family, this host sends no packets of it.
      if (!families.has(family)) return false;
      const hop = hopTo(addresses, family, kernel) ?? viaHop(family);
      if (hop !== undefined) routes.push(routeTo(subnet, hop));
      return hop === undefined;
    });
    if (unreached.length > 0) problems.push(offLinkText(node, unreached, via));
  }
  return { routes: [...routes, ...rangeRoutes(serviceRanges, routes, kernel)], problems };
}

/** Returns the families of addresses that other hosts can reach. */
function familiesOf({ addresses }: OutsideKernel): ReadonlySet<Family> {
  return new Set(
    addresses.filter(({ scope }) => scope === RT_SCOPE.universe).map(({ prefix }) => prefix.address.family),
  );
}

/** Returns the node's addresses. Announced ones come first, because peers use them, too. */
function addressesOf({ publicIp, publicIpv6, internalAddresses }: ClusterNode): readonly Address[] {
  const all = [publicIp, publicIpv6, ...internalAddresses].flatMap((address) => address ?? []);
  return [...new Map(all.map((address) => [addressKey(address), address])).values()];
}

function addressesOfVia(via: Via | undefined, nodes: readonly ClusterNode[]): readonly Address[] {
  if (via === undefined) return [];
  if ("address" in via) return [via.address];
  const node = nodes.find(({ name }) => name === via.name);
  return node === undefined ? [] : addressesOf(node);
}

/** Uses a gateway of the same family if one is on a link, else an IPv6 gateway for IPv4 (RFC 5549). */
function hopTo(
  addresses: readonly Address[],
  family: Family,
  { links, addresses: held }: OutsideKernel,
): Hop | undefined {
  const carriers: readonly Family[] = family === 4 ? [4, 6] : [6];
  for (const carrier of carriers) {
    for (const gateway of addresses.filter((address) => address.family === carrier)) {
      const outputIndex = held.find(
        ({ prefix, index }) =>
          contains(networkOf(prefix), gateway) && links.some((link) => link.index === index && link.isUp),
      )?.index;
      if (outputIndex !== undefined) return { gateway, outputIndex };
    }
  }
  return undefined;
}

function routeTo(destination: Prefix, { gateway, outputIndex }: Hop): Route {
  return { destination, gateway, outputIndex, protocol: RTPROT_WEFT };
}

/**
 * Returns routes for ClusterIPs. The kernel needs a route for a packet of this host before a rule can translate its
 * ClusterIP. If the host has none, not even a default route, the range gets the same next hop as the first subnet.
 */
function rangeRoutes(ranges: readonly Prefix[], ways: readonly Route[], { routes }: OutsideKernel): readonly Route[] {
  // The kernel looks for a route before the hook `output`: without one, a connection fails before a rule could translate it.
  return ranges.flatMap((range) => {
    const isRouted = routes.some(
      ({ destination, protocol, table, type }) =>
        protocol !== RTPROT_WEFT &&
        table === RT_TABLE_MAIN &&
        type === RTN_UNICAST &&
        contains(destination, range.address),
    );
    const way = ways.find(({ destination }) => destination.address.family === range.address.family);
    return isRouted || way === undefined ? [] : [{ ...way, destination: range }];
  });
}

function viaProblem(via: Via, addresses: readonly Address[]): string {
  if ("name" in via && addresses.length === 0) return `--via ${via.name}: there is no Node of that name`;
  const name = "name" in via ? `${via.name} (${addresses.map(formatAddress).join(", ")})` : formatAddress(via.address);
  return `--via ${name} is on none of this host's links: use an address in a network of this host`;
}

function offLinkText(node: ClusterNode, subnets: readonly Prefix[], via: Via | undefined): string {
  const addresses = addressesOf(node).map(formatAddress).join(", ") || "no address";
  const advice = via === undefined ? "; set --via to a node that forwards to it" : "";
  const unreached = subnets.map(formatPrefix).join(" and ");
  return `node ${node.name} (${addresses}) is on none of this host's links: its pods in ${unreached} are unreachable${advice}`;
}
