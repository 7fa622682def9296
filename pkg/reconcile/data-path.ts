/**
 * The way to other nodes' pods: what the kernel should hold against what it holds, and the requests that make up the
 * difference. Pure: the same plan serves the daemon and the executables.
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
import { type Route, routeObject } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { Request } from "../netlink/message.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import { gatewayRoutes, planRoutes } from "./route-plan.ts";

/** A peer's subnet by way of the underlay, or of a device of ours. */
export interface PeerRoute {
  readonly destination: Prefix;
  /** Behind a device it is taken to be on the link; undefined where the device alone leads to the peer. */
  readonly gateway: Address | undefined;
  /** The device's name, or the underlay's index. */
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

/** What the kernel should hold. */
export interface DataPath {
  readonly devices: readonly Device[];
  readonly routes: readonly PeerRoute[];
  readonly neighbours: readonly PeerNeighbour[];
  readonly forwarding: readonly PeerForwarding[];
}

export interface Plan {
  /** In the order in which they are to be sent. Empty: the kernel holds what it should. */
  readonly requests: readonly Request[];
  /** False where a device is made, or becomes another, first: observe and plan again after the requests. */
  readonly isComplete: boolean;
  /** What stands in the way and is not ours, in words for an operator. */
  readonly conflicts: readonly string[];
}

export interface PlanOptions {
  /** Nothing is removed: for those who know that peers are missing from `desired`, but not which. [false] */
  readonly keep?: boolean;
  /** flanneld's routes that lead where ours should become ours. [false] */
  readonly adopt?: boolean;
}

/**
 * New entries come before the ones they replace are removed, and each before what leads to it (a forwarding entry, a
 * neighbour, a route), so that no packet is sent by half a way.
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

  const indexes = deviceIndexes(desired, observed);
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
      // A gateway may not be an address of this node's own: a peer may have got the subnet that was ours.
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

/** 0 for a device that is not there. */
function deviceIndexes({ devices }: DataPath, { links }: Pick<KernelSnapshot, "links">): ReadonlyMap<string, number> {
  return new Map(devices.map(({ name }) => [name, links.find((link) => link.name === name)?.index ?? 0]));
}

/** What requests about the entries of `desired` are about, in the order of the entries. */
export function entryObjects(desired: DataPath, observed: Pick<KernelSnapshot, "links">) {
  const { routes, neighbours, forwarding } = resolve(desired, deviceIndexes(desired, observed));
  return {
    routes: routes.map((route) => [route, ...gatewayRoutes(route)].map(routeObject)),
    neighbours: neighbours.map(neighbourObject),
    forwarding: forwarding.map(forwardingObject),
  };
}

/** Names of devices become their indexes. */
function resolve(desired: DataPath, indexes: ReadonlyMap<string, number>) {
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

/** The addresses of our own devices, link-local ones apart: those are the kernel's. */
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
  // One for each hardware address: only the all-zero one can have several destinations, and that one is never wanted.
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
  return `the device ${name} stands where ${belongs} belongs: it is left alone, with what is programmed into it; ${advice}`;
}

/** Devices of ours that nobody wants any more (another VNI, another backend). */
function staleDevices(desired: DataPath, observed: KernelSnapshot): Link[] {
  const names = new Set(desired.devices.map(({ name }) => name));
  return observed.links.filter((link) => isOwnDevice(link) && !names.has(link.name));
}
