/**
 * Plans the host ends of routed pods (ptp), which have a link each: their addresses, and the routes to the pods. The
 * executables create them. weftd repairs what other programs remove from them while the pod exists. Pure functions.
 */

import { MARK_START } from "../footprint.ts";
import { type Address, addressBits, isSameAddress } from "../ip/address.ts";
import { isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { addAddress, type LinkAddress } from "../kernel/address.ts";
import { changeLink, type Link } from "../kernel/link.ts";
import { addRoute, type ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { Request } from "../netlink/message.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTPROT_KERNEL } from "../netlink/route.ts";
import type { Plan } from "./data-path.ts";
import { isHostRoute } from "./pod-ends.ts";

/** The desired host state of one pod. */
export interface RoutedPod {
  /** The owner mark, which is the alias of the host end. */
  readonly mark: string;
  /** The addresses of the host end, each as a single address. */
  readonly gateways: readonly Address[];
  readonly podAddresses: readonly Address[];
}

/** The metric of the route that the kernel adds for an IPv6 address (IP6_RT_PRIO_ADDRCONF). */
export const CONNECTED_METRIC6 = 256;

/** A prefix that contains only the address. */
export function single(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}

/** The route to a pod through its own link. */
export function hostRoute(address: Address, outputIndex: number) {
  return { destination: single(address), scope: RT_SCOPE.host, outputIndex };
}

/**
 * The marks of host ends that are, or have been, complete. ADD assigns their addresses last, so an end without
 * addresses either belongs to an unfinished ADD or was complete before (`whole`). Ports of bridges are not routed ends.
 * But an end with a route to a pod and a single address is not a working port, even if another program has attached it
 * to a bridge.
 */
export function completePods(
  whole: ReadonlySet<string>,
  { links, addresses, routes }: KernelSnapshot,
): ReadonlySet<string> {
  const own = addresses.filter(({ scope }) => scope === RT_SCOPE.universe);
  const addressed = new Set(own.map(({ index }) => index));
  const isSingle = ({ prefix }: LinkAddress) => isSamePrefix(prefix, single(prefix.address));
  const singles = new Set(own.filter(isSingle).map(({ index }) => index));
  const leading = new Set(routes.filter(isHostRoute).map(({ outputIndex = 0 }) => outputIndex));
  const isWhole = (link: Link) =>
    isFree(link)
      ? whole.has(link.alias) || addressed.has(link.index)
      : singles.has(link.index) && leading.has(link.index);
  return new Set(links.filter((link) => isEnd(link) && isWhole(link)).map(({ alias }) => alias));
}

/** Plans the pods of `wanted` whose mark is in `whole`. */
export function planRoutedPods(
  wanted: readonly RoutedPod[],
  whole: ReadonlySet<string>,
  observed: KernelSnapshot,
): Plan {
  const ends = new Map(observed.links.filter(isEnd).map((link) => [link.alias, link]));
  const routed = wanted.flatMap((pod) => {
    const end = whole.has(pod.mark) ? ends.get(pod.mark) : undefined;
    return end === undefined ? [] : [{ pod, end }];
  });
  const displaced = routed.filter(({ end }) => !end.isUp || !isFree(end));
  // The kernel removes addresses and routes of a link that is down, so observe again first.
  if (displaced.length > 0)
    return planOf(
      displaced.map(({ end }) => changeLink(end, { up: true, ...(isFree(end) ? {} : { masterIndex: 0 }) })),
      false,
    );
  const addresses = byLink(observed.addresses, ({ index }) => index);
  const routes = byLink(observed.routes, ({ outputIndex = 0 }) => outputIndex);
  const requests = routed.flatMap(({ pod, end: { index } }) =>
    planRoutedPod(pod, index, addresses.get(index) ?? [], routes.get(index) ?? []),
  );
  return planOf(requests, true);
}

const planOf = (requests: readonly Request[], isComplete: boolean): Plan => ({ requests, isComplete, conflicts: [] });

function isEnd({ kind, alias }: Link): boolean {
  return kind === "veth" && alias !== "";
}

function isFree({ masterIndex }: Link): boolean {
  return masterIndex === 0;
}

/** Groups objects by link in one pass: a node has hundreds of pods, and thousands of routes to other nodes. */
function byLink<T>(objects: readonly T[], indexOf: (one: T) => number): ReadonlyMap<number, readonly T[]> {
  const found = new Map<number, T[]>();
  for (const one of objects) {
    const others = found.get(indexOf(one));
    if (others === undefined) found.set(indexOf(one), [one]);
    else others.push(one);
  }
  return found;
}

function planRoutedPod(
  { gateways, podAddresses }: RoutedPod,
  index: number,
  addresses: readonly LinkAddress[],
  routes: readonly ObservedRoute[],
): Request[] {
  const isHeld = (gateway: Address) => addresses.some(({ prefix }) => isSameAddress(prefix.address, gateway));
  const leads = (address: Address) =>
    routes.some(({ table, destination }) => table === RT_TABLE_MAIN && isSamePrefix(destination, single(address)));
  // The kernel adds a route for an IPv6 address, and another program may have removed only the route.
  const isCutOff = (gateway: Address) => gateway.family === 6 && isHeld(gateway) && !leads(gateway);
  const own = (gateway: Address) => ({
    ...{ destination: single(gateway), outputIndex: index },
    ...{ protocol: RTPROT_KERNEL, priority: CONNECTED_METRIC6 },
  });
  return [
    ...gateways
      .filter((gateway) => !isHeld(gateway))
      .map((gateway) => addAddress({ index, prefix: single(gateway), skipDetection: true })),
    ...gateways.filter(isCutOff).map((gateway) => addRoute(own(gateway))),
    ...podAddresses.filter((address) => !leads(address)).map((address) => addRoute(hostRoute(address, index))),
  ];
}

/** The host ends of all pods, bridged or routed: mark -> name. */
export function hostEndNames(links: readonly Pick<Link, "alias" | "kind" | "name">[]): ReadonlyMap<string, string> {
  return new Map(
    links
      .filter(({ alias, kind }) => kind === "veth" && alias.startsWith(MARK_START))
      .map(({ alias, name }) => [alias, name]),
  );
}
