/**
 * Chooses the interface and the addresses that carry traffic between nodes. Pure.
 *
 * The order is: the operator's flags (--iface, --iface-cidr, --iface-regex, --iface-can-reach: the first that finds an
 * interface; --public-ip, if it is an address of this host), the interface with the Node's InternalIP, the previously
 * used interface, the interface of the default route. Both families use the same interface.
 */

import { type Address, type Family, formatAddress, isSameAddress } from "../../../pkg/ip/address.ts";
import { contains, formatPrefix } from "../../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../../pkg/kernel/route.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST } from "../../../pkg/netlink/route.ts";
import type { InterfaceOptions } from "../../options.ts";

/** The part of the kernel's state that the choice depends on. */
export interface LocalState {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly ObservedRoute[];
}

/** The criteria of the choice. */
export interface UnderlayCriteria extends InterfaceOptions {
  readonly publicIp: readonly Address[];
  /** The Node's status.addresses of type InternalIP. */
  readonly internalAddresses: readonly Address[];
  /** The name of the interface that was chosen last. It is kept while an address is missing for a time (DHCP). */
  readonly last: string | undefined;
}

export interface UnderlayAddress {
  /** The interface's address, used as source of our packets. */
  readonly local: Address;
  /** The address to which peers send: `local`, unless the operator set another one. */
  readonly announced: Address;
}

export interface UnderlayChoice {
  readonly link: Link;
  readonly ipv4: UnderlayAddress | undefined;
  readonly ipv6: UnderlayAddress | undefined;
  /** The reason for the choice, for the log. */
  readonly reason: string;
}

/** No interface can be chosen. The message names the criteria, the existing interfaces, and the remedy. */
export class UnderlayError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UnderlayError";
  }
}

/** Throws `UnderlayError`. */
export function chooseUnderlay(criteria: UnderlayCriteria, state: LocalState): UnderlayChoice {
  const { link, reason } = chooseLink(criteria, state);
  const ipv4 = addressOf(link, 4, criteria, state);
  const ipv6 = addressOf(link, 6, criteria, state);
  if (ipv4 === undefined && ipv6 === undefined) {
    throw new UnderlayError(
      `interface ${link.name} (${reason}) has no address that other nodes could reach; give it one`,
    );
  }
  return { link, ipv4, ipv6, reason };
}

interface LinkChoice {
  readonly link: Link;
  readonly reason: string;
}

function chooseLink(criteria: UnderlayCriteria, state: LocalState): LinkChoice {
  const { publicIp, internalAddresses, last } = criteria;
  const selectors = selectorsOf(criteria, state);
  if (selectors.length > 0) {
    for (const { flag, link } of selectors) if (link !== undefined) return { link, reason: flag };
    throw new UnderlayError(
      `${selectors.map(({ flag }) => flag).join(", ")}: no such interface; available: ${linkNames(state)}`,
    );
  }
  const chosen =
    linkOfAddress(publicIp, "--public-ip", state) ??
    linkOfAddress(internalAddresses, "the Node's InternalIP", state) ??
    linkOfBefore(last, state) ??
    linkOfDefaultRoute(state);
  if (chosen !== undefined) return chosen;
  const looked = internalAddresses.length === 0 ? "none" : internalAddresses.map(formatAddress).join(", ");
  throw new UnderlayError(
    `no underlay interface: none has the Node's InternalIP (${looked}) and there is no default route; ` +
      `choose one of ${linkNames(state)} with --iface, --iface-cidr, --iface-regex or --iface-can-reach`,
  );
}

function isCalled({ name, alternativeNames }: Link, wanted: string): boolean {
  return name === wanted || alternativeNames?.includes(wanted) === true;
}

/** Returns the operator's flags as given, each with the interface that it finds. */
function selectorsOf(
  { iface, ifaceCidr, ifaceRegex, ifaceCanReach, last }: UnderlayCriteria,
  state: LocalState,
): readonly { readonly flag: string; readonly link: Link | undefined }[] {
  // If several match: first the one that carried the traffic before, then the oldest.
  const candidates = state.links
    .filter((link) => link.name !== "lo" && usableAddresses(link, state).length > 0)
    .sort((a, b) => Number(b.name === last) - Number(a.name === last) || a.index - b.index);
  const addressed = (matches: (address: Address) => boolean) =>
    candidates.find((link) => usableAddresses(link, state).some(matches));
  return [
    ...(iface === undefined
      ? []
      : [{ flag: `--iface ${iface}`, link: state.links.find((link) => isCalled(link, iface)) }]),
    ...(ifaceCidr.length === 0
      ? []
      : [
          {
            flag: `--iface-cidr ${ifaceCidr.map(formatPrefix).join(",")}`,
            link: addressed((address) => ifaceCidr.some((cidr) => contains(cidr, address))),
          },
        ]),
    ...(ifaceRegex === undefined
      ? []
      : [
          {
            flag: `--iface-regex ${ifaceRegex.source}`,
            link:
              candidates.find(({ name }) => ifaceRegex.test(name)) ??
              addressed((address) => ifaceRegex.test(formatAddress(address))),
          },
        ]),
    ...(ifaceCanReach === undefined
      ? []
      : [{ flag: `--iface-can-reach ${formatAddress(ifaceCanReach)}`, link: linkTowards(ifaceCanReach, state) }]),
  ];
}

/** Chooses by the longest prefix, then the lowest metric. */
function linkTowards(address: Address, { links, routes }: LocalState): Link | undefined {
  const [best] = routes
    .filter(
      ({ destination, table, type }) =>
        table === RT_TABLE_MAIN && type === RTN_UNICAST && contains(destination, address),
    )
    .sort((a, b) => b.destination.length - a.destination.length || (a.priority ?? 0) - (b.priority ?? 0));
  return links.find(({ index }) => index === best?.outputIndex);
}

function linkOfBefore(last: string | undefined, state: LocalState): LinkChoice | undefined {
  const link = state.links.find(({ name }) => name === last);
  if (link === undefined || usableAddresses(link, state).length === 0) return undefined;
  return { link, reason: "the previously chosen interface" };
}

function linkOfAddress(wanted: readonly Address[], what: string, state: LocalState): LinkChoice | undefined {
  for (const address of wanted) {
    const holder = state.addresses.find(({ prefix }) => isSameAddress(prefix.address, address));
    const link = state.links.find(({ index }) => index === holder?.index);
    if (link !== undefined) return { link, reason: `${what} ${formatAddress(address)}` };
  }
  return undefined;
}

/** Chooses IPv4 routes before IPv6 routes, then the lowest metric. */
function linkOfDefaultRoute(state: LocalState): LinkChoice | undefined {
  const routes = state.routes
    .filter(({ destination, table }) => destination.length === 0 && table === RT_TABLE_MAIN)
    .sort(
      (a, b) => a.destination.address.family - b.destination.address.family || (a.priority ?? 0) - (b.priority ?? 0),
    );
  for (const { outputIndex } of routes) {
    const link = state.links.find(({ index }) => index === outputIndex);
    if (link !== undefined) return { link, reason: "the default route" };
  }
  return undefined;
}

/** Returns the interface's addresses with global scope. */
function usableAddresses(link: Link, { addresses }: LocalState): readonly Address[] {
  return addresses
    .filter(({ index, scope, isDuplicate }) => index === link.index && scope === RT_SCOPE.universe && !isDuplicate)
    .map(({ prefix }) => prefix.address);
}

/**
 * Returns an address by which the Node is known, else the first one in the operator's networks, else the interface's
 * first one.
 */
function addressOf(
  link: Link,
  family: Family,
  { publicIp, internalAddresses, ifaceCidr }: UnderlayCriteria,
  state: LocalState,
): UnderlayAddress | undefined {
  const usable = usableAddresses(link, state).filter((address) => address.family === family);
  const isUsable = (address: Address) => usable.some((other) => isSameAddress(address, other));
  const inNetworks = usable.filter((address) => ifaceCidr.some((cidr) => contains(cidr, address)));
  const local =
    [...publicIp, ...internalAddresses].find((address) => address.family === family && isUsable(address)) ??
    inNetworks[0] ??
    usable[0];
  if (local === undefined) return undefined;
  return { local, announced: publicIp.find((address) => address.family === family) ?? local };
}

function linkNames({ links }: LocalState): string {
  const names = links.map(({ name }) => name).filter((name) => name !== "lo");
  return names.length === 0 ? "no interfaces but lo" : names.join(", ");
}
