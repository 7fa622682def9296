/**
 * The host's ends of pods that have a link each (ptp): what leads to the pod on the host against what the kernel holds. The
 * executables make it; whoever lives longer puts back what others take from it while the pod is there. Pure.
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

/** A pod's, as it should be. */
export interface RoutedPod {
  /** The owner's mark that the host's end has as its alias. */
  readonly mark: string;
  /** On the host's end, each by itself. */
  readonly gateways: readonly Address[];
  readonly podAddresses: readonly Address[];
}

/** The metric of a route that the kernel makes for an IPv6 address (IP6_RT_PRIO_ADDRCONF). */
export const CONNECTED_METRIC6 = 256;

/** Only the address itself. */
export function single(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}

/** The way to a pod, by a link that leads to nobody else. */
export function hostRoute(address: Address, outputIndex: number) {
  return { destination: single(address), scope: RT_SCOPE.host, outputIndex };
}

/**
 * The marks of host's ends that are, or have been, whole: ADD gives them their addresses last, so one without is either in
 * the making or was `whole` before. Bridges' ports are others; but an end that leads to a pod and has a single address is no
 * port that works, whichever program has plugged it into a bridge.
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

/** Of `wanted`, those whose mark is in `whole` are looked at. */
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
  // What the kernel has taken from a link that was down is to be seen first.
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

/** Looked at once: a node has hundreds of pods, and thousands of routes to others. */
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
  // The kernel makes a route for an IPv6 address, which another program may have removed alone.
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

/** The host's ends of all pods' cables, bridged or not: mark -> name. */
export function hostEndNames(links: readonly Pick<Link, "alias" | "kind" | "name">[]): ReadonlyMap<string, string> {
  return new Map(
    links
      .filter(({ alias, kind }) => kind === "veth" && alias.startsWith(MARK_START))
      .map(({ alias, name }) => [alias, name]),
  );
}
