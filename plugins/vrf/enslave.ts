/**
 * Moves an interface into a VRF and back. The kernel takes it down for a moment. This removes its IPv6 addresses,
 * unless a setting keeps them, and every route except those to the interface's own networks. Both are restored.
 */
import { isSamePrefix } from "../../pkg/ip/prefix.ts";
import { addAddress, type LinkAddress } from "../../pkg/kernel/address.ts";
import { changeLink } from "../../pkg/kernel/link.ts";
import { readAddresses, readRoutes } from "../../pkg/kernel/read.ts";
import { type ObservedRoute, replaceRoute } from "../../pkg/kernel/route.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTPROT_KERNEL } from "../../pkg/netlink/route.ts";

/** Addresses and routes of an interface that the kernel did not add itself. */
export interface Possessions {
  readonly addresses: readonly LinkAddress[];
  /** Routes of the main table. */
  readonly routes: readonly ObservedRoute[];
}

export function readPossessions(pod: BlockingNetlink, index: number): Possessions {
  const isOwn = ({ outputIndex, table, protocol, isMultipath }: ObservedRoute) =>
    outputIndex === index && table === RT_TABLE_MAIN && protocol !== RTPROT_KERNEL && !isMultipath;
  return {
    addresses: readAddresses(pod, index).filter(({ scope }) => scope === RT_SCOPE.universe),
    routes: readRoutes(pod).filter(isOwn),
  };
}

/** Makes the VRF `masterIndex` the interface's master, or none (0). Restores its routes in `table`. */
export function moveInterface(
  pod: BlockingNetlink,
  index: number,
  { addresses, routes }: Possessions,
  masterIndex: number,
  table: number,
): void {
  pod.run(changeLink(index, { masterIndex }));
  const held = readAddresses(pod, index);
  const lost = addresses.filter(({ prefix }) => !held.some((one) => isSamePrefix(one.prefix, prefix)));
  pod.run(...lost.map(({ prefix }) => addAddress({ index, prefix, skipDetection: true })));
  const links = routes.filter(({ gateway }) => gateway === undefined);
  const others = routes.filter(({ gateway }) => gateway !== undefined);
  pod.run(...[...links, ...others].map((route) => replaceRoute({ ...route, table })));
}
