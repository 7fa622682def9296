/**
 * The host ends of a network's pods, by the plugin that attached them: ports of the pods' bridge (`bridge`), and routed
 * links, which lead to one pod each (`ptp`). After the operator has changed the plugin, a node has both until the older
 * pods are gone. Pure functions.
 */

import { addressBits } from "../ip/address.ts";
import type { Link } from "../kernel/link.ts";
import { isOfNetwork } from "../kernel/owner.ts";
import type { ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTPROT_KERNEL } from "../netlink/route.ts";

/** The owner marks of host ends, which are their aliases. */
export interface PodEnds {
  readonly ports: ReadonlySet<string>;
  readonly routed: ReadonlySet<string>;
}

export const NO_ENDS: PodEnds = { ports: new Set(), routed: new Set() };

/** The plugin that attaches new pods. */
export type AttachPlugin = "bridge" | "ptp";

/**
 * Classifies the host ends. A routed link has an address or the route to its pod, and a port has a bridge. An end that
 * has lost them keeps its class in `before`. If an end without them is new, it is a port that lost its bridge if
 * `plugin` is `bridge`; if `plugin` is `ptp`, its ADD is still running, and it is neither.
 */
export function podEnds(
  network: string,
  plugin: AttachPlugin,
  observed: KernelSnapshot,
  before: PodEnds = NO_ENDS,
): PodEnds {
  const ports = new Set<string>();
  const routed = new Set<string>();
  const own = observed.links.filter(({ kind, alias }) => kind === "veth" && isOfNetwork(alias, network));
  if (own.length === 0) return NO_ENDS;
  const routedIndexes = new Set([
    ...observed.addresses.filter(({ scope }) => scope === RT_SCOPE.universe).map(({ index }) => index),
    ...observed.routes.filter(isHostRoute).map(({ outputIndex }) => outputIndex),
  ]);
  const isRouted = ({ index, masterIndex, alias }: Link) =>
    routedIndexes.has(index) || (masterIndex === 0 && before.routed.has(alias));
  const isPort = ({ masterIndex, alias }: Link) => masterIndex !== 0 || before.ports.has(alias) || plugin === "bridge";
  for (const end of own) {
    if (isRouted(end)) routed.add(end.alias);
    else if (isPort(end)) ports.add(end.alias);
  }
  return { ports, routed };
}

/**
 * True for a route to a pod, as `ptp` adds it. The kernel's own route to the link's IPv6 address has another protocol.
 */
export function isHostRoute({ table, protocol, destination, gateway }: ObservedRoute): boolean {
  const isOfPods = table === RT_TABLE_MAIN && protocol !== RTPROT_KERNEL && gateway === undefined;
  return isOfPods && destination.length === addressBits(destination.address.family);
}
