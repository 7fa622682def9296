/** Compares the kernel's entries for each peer with the desired ones. Pure. */

import type { Entry, Presence } from "../../pkg/backend/inspection.ts";
import type { Peer } from "../../pkg/backend/node.ts";
import type { DesiredState } from "../../pkg/backend/state.ts";
import { RTPROT_WEFT } from "../../pkg/footprint.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import type { Device } from "../../pkg/kernel/device.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { RT_TABLE_MAIN } from "../../pkg/netlink/route.ts";
import type { DataPath, PeerRoute } from "../../pkg/reconcile/data-path.ts";
import { hasDefaultMetric } from "../../pkg/reconcile/route-plan.ts";
import type { KnownNodes } from "../node/run-dir.ts";

export interface PeerState {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly subnets: readonly string[];
  /** The backend that the peer announces. Undefined if it has announced none yet. */
  readonly backend: string | undefined;
  /** "route", or the name of the backend whose device is used. */
  readonly ways: readonly string[];
  readonly entries: readonly Entry[];
  /** Reasons why some of the peer's pods cannot be reached. */
  readonly problems: readonly string[];
  /** The address to probe: the peer's device through the tunnel, or the peer itself. Undefined if there is no route. */
  readonly probe: { readonly to: Address; readonly from: Address } | undefined;
}

export function peerStates(
  table: Pick<KnownNodes, "node" | "peers">,
  desired: DesiredState,
  observed: KernelSnapshot,
): PeerState[] {
  const held = new Held(observed);
  const wanted = new Wanted(desired.dataPath);
  const problems = new Map<string, string[]>();
  for (const { peer, reason } of desired.problems) problems.set(peer, [...(problems.get(peer) ?? []), reason]);
  return table.peers.map((peer) => {
    const routes = peer.subnets.flatMap((subnet) => wanted.routes.get(formatPrefix(subnet)) ?? []);
    return {
      name: peer.name,
      addresses: peer.addresses.map(formatAddress),
      subnets: peer.subnets.map(formatPrefix),
      backend: peer.backendType,
      ways: [...new Set(routes.map(({ by }) => wanted.wayBy(by)))],
      entries: routes.flatMap((route, at) => entriesOf(route, at === 0, wanted, held)),
      problems: problems.get(peer.name) ?? [],
      probe: probeOf(peer, routes, table, wanted),
    };
  });
}

/** The desired entries, by their keys. */
class Wanted {
  readonly routes: ReadonlyMap<string, PeerRoute>;
  readonly macs: ReadonlyMap<string, string>;
  readonly destinations: ReadonlyMap<string, Address>;
  readonly devices: ReadonlyMap<string, Device>;

  constructor({ routes, neighbours, forwarding, devices }: DataPath) {
    this.routes = new Map(routes.map((route) => [formatPrefix(route.destination), route]));
    this.macs = new Map(neighbours.map(({ device, address, mac }) => [`${device} ${formatAddress(address)}`, mac]));
    this.destinations = new Map(forwarding.map(({ device, mac, destination }) => [`${device} ${mac}`, destination]));
    this.devices = new Map(devices.map((device) => [device.name, device]));
  }

  wayBy(by: PeerRoute["by"]): string {
    return "device" in by ? (this.devices.get(by.device)?.backend ?? by.device) : "route";
  }
}

/** The kernel's entries, by the same keys. */
class Held {
  readonly routes = new Map<string, ObservedRoute[]>();
  readonly macs: ReadonlyMap<string, string>;
  readonly destinations: ReadonlyMap<string, Address>;
  readonly #names: ReadonlyMap<number, string>;

  constructor({ links, routes, neighbours, forwarding }: KernelSnapshot) {
    this.#names = new Map(links.map(({ index, name }) => [index, name]));
    for (const route of routes) {
      if (route.table !== RT_TABLE_MAIN || !hasDefaultMetric(route)) continue;
      const key = formatPrefix(route.destination);
      this.routes.set(key, [...(this.routes.get(key) ?? []), route]);
    }
    const permanent = neighbours.filter(({ isPermanent }) => isPermanent);
    this.macs = new Map(
      permanent.map(({ index, address, mac }) => [`${this.nameOf(index)} ${formatAddress(address)}`, mac]),
    );
    this.destinations = new Map(
      forwarding.map(({ index, mac, destination, isPlain }) => [
        `${this.nameOf(index)} ${mac}`,
        isPlain ? destination : { ...destination, value: -1n },
      ]),
    );
  }

  nameOf(index: number | undefined): string {
    return this.#names.get(index ?? 0) ?? `index ${index}`;
  }
}

/** The subnets of a peer share the forwarding entry of their device. It is listed with the first subnet. */
function entriesOf(route: PeerRoute, isFirst: boolean, wanted: Wanted, held: Held): Entry[] {
  const { gateway, by } = route;
  const subnet = formatPrefix(route.destination);
  const device = "device" in by ? by.device : held.nameOf(by.index);
  const entries: Entry[] = [
    {
      kind: "route",
      text: `${subnet}${gateway === undefined ? "" : ` via ${formatAddress(gateway)}`} dev ${device}${"device" in by && gateway !== undefined ? " onlink" : ""} proto ${RTPROT_WEFT}`,
      presence: routePresence(route, device, held.routes.get(subnet) ?? [], held),
    },
  ];
  if (!("device" in by) || gateway === undefined) return entries;
  const key = `${device} ${formatAddress(gateway)}`;
  const mac = wanted.macs.get(key);
  if (mac === undefined) return entries;
  entries.push({
    kind: "neighbour",
    text: `${formatAddress(gateway)} lladdr ${mac} dev ${device} nud permanent`,
    presence: presenceOf(held.macs.get(key), (value) => value === mac),
  });
  const destination = wanted.destinations.get(`${device} ${mac}`);
  if (!isFirst || destination === undefined) return entries;
  entries.push({
    kind: "fdb",
    text: `${mac} dev ${device} dst ${formatAddress(destination)} self permanent`,
    presence: presenceOf(held.destinations.get(`${device} ${mac}`), (value) => isSameAddress(value, destination)),
  });
  return entries;
}

function routePresence({ gateway }: PeerRoute, device: string, routes: readonly ObservedRoute[], held: Held): Presence {
  const isRight = (route: ObservedRoute) =>
    held.nameOf(route.outputIndex) === device && isSameGateway(route.gateway, gateway);
  return routes.length === 0 ? "missing" : routes.some(isRight) ? "there" : "other";
}

/** Two routes without a gateway are equal, too. */
export function isSameGateway(a: Address | undefined, b: Address | undefined): boolean {
  return a === undefined || b === undefined ? a === b : isSameAddress(a, b);
}

function presenceOf<T>(value: T | undefined, isRight: (value: T) => boolean): Presence {
  return value === undefined ? "missing" : isRight(value) ? "there" : "other";
}

/** The probe uses the route of the peer's first subnet. */
function probeOf(
  { addresses }: Peer,
  [route]: readonly PeerRoute[],
  { node }: Pick<KnownNodes, "node">,
  wanted: Wanted,
): PeerState["probe"] {
  if (route !== undefined && "device" in route.by) {
    // The peer's device has the first address of its subnet, as this node's device has.
    const to = route.destination.address;
    const own = wanted.devices.get(route.by.device)?.addresses;
    const from = own?.find(({ address }) => address.family === to.family)?.address;
    return from === undefined ? undefined : { to, from };
  }
  const to = route?.gateway ?? addresses.find(({ family }) => node.underlay.local[family] !== undefined);
  const from = to === undefined ? undefined : node.underlay.local[to.family];
  return to === undefined || from === undefined ? undefined : { to, from };
}

/** Describes in one or two words what is programmed. */
export function programmedText({ entries, problems }: PeerState): string {
  const wrong = entries.filter(({ presence }) => presence !== "there");
  if (entries.length === 0) return problems.length === 0 ? "nothing to do" : "nothing";
  if (wrong.length === 0) return "all";
  return wrong.map(({ kind, presence }) => `${kind} ${presence === "missing" ? "missing" : "different"}`).join(", ");
}

export function isProgrammed({ entries, problems }: PeerState): boolean {
  return problems.length === 0 && entries.every(({ presence }) => presence === "there");
}
