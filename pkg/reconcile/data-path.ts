/**
 * Plans the routes to other nodes' pods: compares the kernel's state with the desired state, and returns the requests
 * that change it. Pure functions: the daemon and the executables use the same plan.
 */

import { RTPROT_WEFT } from "../footprint.ts";
import { type Address, formatAddress, isSameAddress } from "../ip/address.ts";
import { isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { addAddress, deleteAddress, type LinkAddress } from "../kernel/address.ts";
import { type Device, isOwnDevice } from "../kernel/device.ts";
import { deleteLink, type Link } from "../kernel/link.ts";
import {
  deleteForwarding,
  deleteNeighbour,
  type Forwarding,
  forwardingObject,
  type Neighbour,
  neighbourObject,
  type ObservedForwarding,
  type ObservedNeighbour,
  replaceForwarding,
  replaceNeighbour,
} from "../kernel/neighbour.ts";
import { DEFAULT_METRIC, type ObservedRoute, type Route, routeObject } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { Request } from "../netlink/message.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST } from "../netlink/route.ts";
import { gatewayRoutes, planRoutes } from "./route-plan.ts";

/** A route to a peer's subnet through the underlay, or through a device of ours. */
export interface PeerRoute {
  readonly destination: Prefix;
  /** A gateway behind a device of ours is treated as on-link. Undefined if the device alone determines the peer. */
  readonly gateway: Address | undefined;
  /** The device's name, or the index of the underlay's link. */
  readonly by: { readonly device: string } | { readonly index: number };
}

export interface PeerNeighbour {
  readonly device: string;
  readonly address: Address;
  readonly mac: string;
}

export interface PeerForwarding {
  readonly device: string;
  readonly mac: string;
  readonly destination: Address;
}

/** The desired state of the kernel. */
export interface DataPath {
  readonly devices: readonly Device[];
  readonly routes: readonly PeerRoute[];
  readonly neighbours: readonly PeerNeighbour[];
  readonly forwarding: readonly PeerForwarding[];
}

export interface Plan {
  /** In the order to send them. Empty if the kernel has the desired state. */
  readonly requests: readonly Request[];
  /** False if a device is created or recreated first: observe and plan again after sending the requests. */
  readonly isComplete: boolean;
  /** Conflicts with objects that are not weft's, as messages for an operator. */
  readonly conflicts: readonly string[];
}

export interface PlanOptions {
  /** Remove nothing: for a caller that knows that peers are missing from `desired`, but not which ones. [false] */
  readonly keep?: boolean;
  /** Adopt flanneld's routes that have the same next hop as ours. [false] */
  readonly adopt?: boolean;
}

/**
 * Compares the states and plans the requests. Adds new entries before it removes the entries that they replace. Adds
 * each entry before the ones that depend on it (forwarding entry, neighbour, route), so that no packet is sent by an
 * incomplete path.
 */
export function planDataPath(
  desired: DataPath,
  observed: KernelSnapshot,
  { keep = false, adopt = false }: PlanOptions = {},
): Plan {
  const links = desired.devices.map(({ name }) => observed.links.find((link) => link.name === name));
  const devices = desired.devices.map((device, at) => device.plan(links[at]));
  const inTheWay = desired.devices.filter(
    ({ kind }, at) => devices[at]?.removes === true && (keep || links[at]?.kind !== kind),
  );
  if (inTheWay.length > 0) return { requests: [], isComplete: true, conflicts: inTheWay.map(deviceConflictText) };
  const deviceRequests = devices.flatMap(({ requests }) => requests);
  if (devices.some(({ isReady }) => !isReady)) return { requests: deviceRequests, isComplete: false, conflicts: [] };

  const indexes = new Map(desired.devices.map(({ name }, at) => [name, links[at]?.index ?? 0]));
  const ownDevices = new Set(indexes.values());
  const stale = staleDevices(desired, observed);
  const left = new Set([...ownDevices, ...stale.map(({ index }) => index)]);
  const wanted = resolve(desired, indexes);
  const addresses = planAddresses(desired.devices, indexes, observed.addresses);
  const neighbours = planNeighbours(wanted.neighbours, observed.neighbours, ownDevices);
  const forwarding = planForwarding(wanted.forwarding, observed.forwarding, ownDevices);
  const routes = planRoutes(wanted.routes, observed.routes, left, { adopt });
  const removals = [...routes.remove, ...forwarding.remove, ...neighbours.remove, ...stale.map(deleteLink)];
  return {
    requests: [
      ...deviceRequests,
      ...addresses.add,
      // A gateway must not be an address of this node: a peer may have got a subnet that was this node's.
      ...(keep ? [] : addresses.remove),
      ...forwarding.add,
      ...neighbours.add,
      ...routes.add,
      ...(keep ? [] : removals),
    ],
    isComplete: true,
    conflicts: routes.conflicts,
  };
}

/** The entries of a data path, which serve single peers. */
export type Entries = Omit<DataPath, "devices">;

/**
 * Plans the change of single peers' entries from `before` to `after`, in the order of `planDataPath`, without reading
 * the kernel: it must have `before`. `indexes` are those of the devices by name. If another program has changed an
 * entry, the kernel refuses the request for it, or the notification leads to a comparison.
 */
export function planEntries(before: Entries, after: Entries, indexes: ReadonlyMap<string, number>): Request[] {
  const ownDevices = new Set(indexes.values());
  const [held, wanted] = [resolve(before, indexes), resolve(after, indexes)];
  const neighbours = planNeighbours(
    wanted.neighbours,
    held.neighbours.map((one) => ({ ...one, isPermanent: true })),
    ownDevices,
  );
  const forwarding = planForwarding(
    wanted.forwarding,
    held.forwarding.map((one) => ({ ...one, isPlain: true })),
    ownDevices,
  );
  const routes = planRoutes(wanted.routes, held.routes.map(asObserved), ownDevices);
  return [
    ...forwarding.add,
    ...neighbours.add,
    ...routes.add,
    ...routes.remove,
    ...forwarding.remove,
    ...neighbours.remove,
  ];
}

/** Returns the route as the kernel reports it after `addRoute`. */
function asObserved(route: Route): ObservedRoute {
  return {
    ...route,
    ...{ protocol: route.protocol ?? RTPROT_WEFT, table: RT_TABLE_MAIN, type: RTN_UNICAST, isMultipath: false },
    scope: route.gateway === undefined && route.destination.address.family === 4 ? RT_SCOPE.link : RT_SCOPE.universe,
    priority: DEFAULT_METRIC[route.destination.address.family],
    isOnlink: route.isOnlink ?? false,
  };
}

/** The indexes of the devices by name; 0 if a device does not exist. */
export function deviceIndexes(
  { devices }: Pick<DataPath, "devices">,
  { links }: Pick<KernelSnapshot, "links">,
): ReadonlyMap<string, number> {
  return new Map(devices.map(({ name }) => [name, links.find((link) => link.name === name)?.index ?? 0]));
}

/** The objects that requests for the entries of `desired` change, in the order of the entries. */
export function entryObjects(desired: DataPath, observed: Pick<KernelSnapshot, "links">) {
  const { routes, neighbours, forwarding } = resolve(desired, deviceIndexes(desired, observed));
  return {
    routes: routes.map((route) => [route, ...gatewayRoutes(route)].map(routeObject)),
    neighbours: neighbours.map(neighbourObject),
    forwarding: forwarding.map(forwardingObject),
  };
}

/** Replaces the names of devices by their indexes. */
function resolve(desired: Entries, indexes: ReadonlyMap<string, number>) {
  const indexOf = (name: string) => indexes.get(name) ?? 0;
  return {
    neighbours: desired.neighbours.map(
      ({ device, address, mac }): Neighbour => ({ index: indexOf(device), address, mac }),
    ),
    forwarding: desired.forwarding.map(
      ({ device, mac, destination }): Forwarding => ({ index: indexOf(device), mac, destination }),
    ),
    routes: desired.routes.map(
      ({ destination, gateway, by }): Route => ({
        destination,
        gateway,
        protocol: RTPROT_WEFT,
        ...("device" in by
          ? { outputIndex: indexOf(by.device), isOnlink: gateway !== undefined }
          : { outputIndex: by.index }),
      }),
    ),
  };
}

interface Difference {
  readonly add: readonly Request[];
  readonly remove: readonly Request[];
}

/** Plans the addresses of our own devices, except link-local ones, which the kernel assigns. */
function planAddresses(
  devices: readonly Device[],
  indexes: ReadonlyMap<string, number>,
  held: readonly LinkAddress[],
): Difference {
  const parts = devices.map(({ name, addresses }) => {
    const index = indexes.get(name) ?? 0;
    const own = held.filter((address) => address.index === index && address.scope === RT_SCOPE.universe);
    const isHeld = (prefix: Prefix) => own.some((address) => isSamePrefix(address.prefix, prefix));
    const isWanted = (address: LinkAddress) => addresses.some((prefix) => isSamePrefix(prefix, address.prefix));
    return {
      add: addresses
        .filter((prefix) => !isHeld(prefix))
        .map((prefix) => addAddress({ index, prefix, skipDetection: true })),
      remove: own.filter((address) => !isWanted(address)).map(({ prefix }) => deleteAddress(index, prefix)),
    };
  });
  return { add: parts.flatMap(({ add }) => add), remove: parts.flatMap(({ remove }) => remove) };
}

function planNeighbours(
  wanted: readonly Neighbour[],
  held: readonly ObservedNeighbour[],
  own: ReadonlySet<number>,
): Difference {
  const key = ({ index, address }: Neighbour) => `${index} ${formatAddress(address)}`;
  const permanent = held.filter(({ index, isPermanent }) => own.has(index) && isPermanent);
  const heldMacs = new Map(permanent.map((entry) => [key(entry), entry.mac]));
  const wantedKeys = new Set(wanted.map(key));
  return {
    add: wanted.filter((entry) => heldMacs.get(key(entry)) !== entry.mac).map(replaceNeighbour),
    remove: permanent.filter((entry) => !wantedKeys.has(key(entry))).map(deleteNeighbour),
  };
}

function planForwarding(
  wanted: readonly Forwarding[],
  held: readonly ObservedForwarding[],
  own: ReadonlySet<number>,
): Difference {
  const key = ({ index, mac }: Forwarding) => `${index} ${mac}`;
  // One entry for each hardware address: only the all-zero address can have several destinations, and it is never
  // wanted.
  const ours = new Map(held.filter(({ index }) => own.has(index)).map((entry) => [key(entry), entry]));
  const wantedKeys = new Set(wanted.map(key));
  const isHeld = (entry: Forwarding) => {
    const found = ours.get(key(entry));
    return found?.isPlain === true && isSameAddress(found.destination, entry.destination);
  };
  return {
    add: wanted.filter((entry) => !isHeld(entry)).map(replaceForwarding),
    remove: [...ours.values()].filter((entry) => !wantedKeys.has(key(entry))).map(deleteForwarding),
  };
}

function deviceConflictText({ name, conflict: { belongs, advice } }: Device): string {
  return `a device ${name} exists that is not ${belongs}: weft changes neither the device nor its entries; ${advice}`;
}

/** The devices of ours that are not wanted (another VNI, another backend). */
function staleDevices(desired: DataPath, observed: KernelSnapshot): Link[] {
  const names = new Set(desired.devices.map(({ name }) => name));
  return observed.links.filter((link) => isOwnDevice(link) && !names.has(link.name));
}
