/**
 * The way to other nodes' pods: what the kernel should hold against what it holds, and the requests that make up the
 * difference. Pure: the same plan serves the daemon and the executables.
 */

import { RTPROT_WEFT, VTEP_ALIAS } from "../footprint.ts";
import { type Address, formatAddress, isSameAddress } from "../ip/address.ts";
import { isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { addAddress, deleteAddress, type LinkAddress } from "../kernel/address.ts";
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
import { planVtep, type Vtep } from "../kernel/vtep.ts";
import type { Request } from "../netlink/message.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import { gatewayRoutes, planRoutes } from "./route-plan.ts";

/** A peer's subnet by way of the underlay, or of a VTEP. */
export interface PeerRoute {
  readonly destination: Prefix;
  readonly gateway: Address;
  /** The VTEP's name, or the underlay's index. */
  readonly by: { readonly vtep: string } | { readonly index: number };
}

export interface PeerNeighbour {
  readonly vtep: string;
  readonly address: Address;
  readonly mac: string;
}

export interface PeerForwarding {
  readonly vtep: string;
  readonly mac: string;
  readonly destination: Address;
}

/** What the kernel should hold. */
export interface DataPath {
  readonly vteps: readonly Vtep[];
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
  const devices = desired.vteps.map((vtep) => planVtep(vtep, linkNamed(observed, vtep.name)));
  const inTheWay = desired.vteps.filter(
    ({ name }, at) => devices[at]?.removes === true && (keep || isStranger(observed, name)),
  );
  if (inTheWay.length > 0) return { requests: [], isComplete: true, conflicts: inTheWay.map(deviceConflictText) };
  const deviceRequests = devices.flatMap(({ requests }) => requests);
  if (devices.some(({ isReady }) => !isReady)) return { requests: deviceRequests, isComplete: false, conflicts: [] };

  const indexes = vtepIndexes(desired, observed);
  const ownDevices = new Set(indexes.values());
  const stale = staleVteps(desired, observed);
  const left = new Set([...ownDevices, ...stale.map(({ index }) => index)]);
  const wanted = resolve(desired, indexes);
  const addresses = planAddresses(desired.vteps, indexes, observed.addresses);
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

/** A device under our VTEP's name that is no VXLAN device at all: somebody's, and not ours to remove. */
function isStranger(observed: KernelSnapshot, name: string): boolean {
  return linkNamed(observed, name)?.kind !== "vxlan";
}

function linkNamed({ links }: Pick<KernelSnapshot, "links">, name: string): Link | undefined {
  return links.find((link) => link.name === name);
}

/** 0 for a device that is not there. */
function vtepIndexes({ vteps }: DataPath, observed: Pick<KernelSnapshot, "links">): ReadonlyMap<string, number> {
  return new Map(vteps.map(({ name }) => [name, linkNamed(observed, name)?.index ?? 0]));
}

/** What requests about the entries of `desired` are about, in the order of the entries. */
export function entryObjects(desired: DataPath, observed: Pick<KernelSnapshot, "links">) {
  const { routes, neighbours, forwarding } = resolve(desired, vtepIndexes(desired, observed));
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
    neighbours: desired.neighbours.map(({ vtep, address, mac }): Neighbour => ({ index: indexOf(vtep), address, mac })),
    forwarding: desired.forwarding.map(
      ({ vtep, mac, destination }): Forwarding => ({ index: indexOf(vtep), mac, destination }),
    ),
    routes: desired.routes.map(
      ({ destination, gateway, by }): Route => ({
        destination,
        gateway,
        protocol: RTPROT_WEFT,
        ...("vtep" in by ? { outputIndex: indexOf(by.vtep), isOnlink: true } : { outputIndex: by.index }),
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
  vteps: readonly Vtep[],
  indexes: ReadonlyMap<string, number>,
  held: readonly LinkAddress[],
): Difference {
  const parts = vteps.map(({ name, addresses }) => {
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

function deviceConflictText({ name, vni, port, local }: Vtep): string {
  return (
    `the device ${name} stands where a VXLAN device with VNI ${vni} and port ${port} over IPv${local.family} belongs: ` +
    "it is left alone, with what is programmed into it; remove it, or give this network another VNI"
  );
}

/** VTEPs of ours that nobody wants any more (another VNI, another backend). */
function staleVteps(desired: DataPath, observed: KernelSnapshot): Link[] {
  const names = new Set(desired.vteps.map(({ name }) => name));
  return observed.links.filter(({ name, kind, alias }) => kind === "vxlan" && alias === VTEP_ALIAS && !names.has(name));
}
