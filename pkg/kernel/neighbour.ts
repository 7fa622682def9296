/**
 * Neighbours (which hardware address an IP address on a link has) and a VXLAN's forwarding entries (which node a hardware
 * address lives on). To the kernel both are neighbour messages; here they are two things.
 */
import { type Address, addressFromBytes, addressToBytes, type Family, formatAddress } from "../ip/address.ts";
import { formatMac, parseMac } from "../ip/mac.ts";
import { AF_BRIDGE, AF_INET, AF_INET6 } from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  lateRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  type ObjectIdentity,
  type Query,
  query,
  type Request,
  request,
} from "../netlink/message.ts";
import {
  NTF_SELF,
  NTF_USE,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_STALE,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from "../netlink/neighbour.ts";
import { addressFamily } from "./address.ts";

export interface Neighbour {
  readonly index: number;
  readonly address: Address;
  readonly mac: string;
}

export type ObservedNeighbour = Neighbour & { readonly isPermanent: boolean };

/** Frames for `mac` go to the VTEP at `destination`. */
export interface Forwarding {
  readonly index: number;
  readonly mac: string;
  readonly destination: Address;
}

export type ObservedForwarding = Forwarding & {
  /** Never aged, and by the device's own port, VNI and underlay: as `replaceForwarding` makes it. */
  readonly isPlain: boolean;
};

/** Reads RTM_NEWNEIGH of a family of IP; `undefined` for the rest, and for entries without a hardware address. */
export function parseNeighbour(message: Message): ObservedNeighbour | undefined {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  if (header.family !== AF_INET && header.family !== AF_INET6) return undefined;
  if (attributes.destination === undefined || attributes.lladdr === undefined) return undefined;
  return {
    index: header.index,
    address: addressFromBytes(attributes.destination),
    mac: formatMac(attributes.lladdr),
    isPermanent: (header.state & NUD_PERMANENT) !== 0,
  };
}

/** Reads RTM_NEWNEIGH of AF_BRIDGE; `undefined` for entries that lead to no other node (a bridge's own, multicast). */
export function parseForwarding(message: Message): ObservedForwarding | undefined {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  if (header.family !== AF_BRIDGE || attributes.destination === undefined || attributes.lladdr === undefined)
    return undefined;
  // The kernel names these only where they differ from the device's (vxlan_fdb_info).
  const { port, vni, interfaceIndex } = attributes;
  const isDiverted = port !== undefined || vni !== undefined || interfaceIndex !== undefined;
  return {
    index: header.index,
    mac: formatMac(attributes.lladdr),
    destination: addressFromBytes(attributes.destination),
    isPlain: (header.state & NUD_PERMANENT) !== 0 && !isDiverted,
  };
}

/** Where an address on a link stands, by NUD_*, and its hardware address where one is known. */
export interface NeighbourState {
  readonly state: number;
  readonly mac: string | undefined;
}

export function parseNeighbourState(message: Message): NeighbourState {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  return { state: header.state, mac: attributes.lladdr === undefined ? undefined : formatMac(attributes.lladdr) };
}

/** True for an entry that an administrator has made: the kernel neither ages it nor learns another hardware address. */
export function isStatic({ state }: NeighbourState): boolean {
  return (state & (NUD_PERMANENT | NUD_NOARP)) !== 0;
}

/** By the kernel's key: the link, and the address on it. */
export function neighbourObject({ index, address }: Pick<Neighbour, "index" | "address">): ObjectIdentity {
  return { kind: "neighbour", key: `index ${index} ${formatAddress(address)}` };
}

/** By the kernel's key: the link, and the hardware address. */
export function forwardingObject({ index, mac }: Pick<Forwarding, "index" | "mac">): ObjectIdentity {
  return { kind: "forwarding", key: `index ${index} ${formatMac(parseMac(mac))}` };
}

/** One entry; ENOENT where there is none. */
export function getNeighbour(index: number, address: Address): Query {
  return query(
    RTM_GETNEIGH,
    `ip neigh get ${formatAddress(address)} dev index ${index}`,
    { family: addressFamily(address.family), index },
    { destination: addressToBytes(address) },
  );
}

/** The kernel asks the link who has the address; `isKnown`: it has an entry with a hardware address. */
export function probeNeighbour(index: number, address: Address, isKnown: boolean): Request {
  return request(
    RTM_NEWNEIGH,
    () => neighbourObject({ index, address }),
    `ip neigh ${isKnown ? "change" : "add"} ${formatAddress(address)} dev index ${index} ${isKnown ? "nud probe" : "use"}`,
    {
      ...{ family: addressFamily(address.family), index },
      ...(isKnown ? { state: NUD_PROBE } : { flags: NTF_USE }),
    },
    { destination: addressToBytes(address) },
    isKnown ? 0 : NLM_F_CREATE,
  );
}

/** The port of a bridge behind which a hardware address is, as an entry of `forwardingDump` tells it. */
export function parseBridgeEntry(
  message: Message,
): { index: number; master: number | undefined; mac: string } | undefined {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  if (header.family !== AF_BRIDGE || attributes.lladdr === undefined) return undefined;
  return { index: header.index, master: attributes.master, mac: formatMac(attributes.lladdr) };
}

export function neighbourDump(family: Family): Query {
  return dumpRequest(RTM_GETNEIGH, `ip -${family} neigh show`, { family: addressFamily(family) }, {});
}

/** Of all bridges and VXLAN devices: filter by index. */
export function forwardingDump(): Query {
  return dumpRequest(RTM_GETNEIGH, "bridge fdb show", { family: AF_BRIDGE }, {});
}

/** Adds the entry, or gives the address its new hardware address in one step. */
export function replaceNeighbour(entry: Neighbour): Request {
  return lateRequest(
    RTM_NEWNEIGH,
    () => neighbourObject(entry),
    () => `ip neigh replace ${formatAddress(entry.address)} lladdr ${entry.mac} dev index ${entry.index} nud permanent`,
    () => [
      { family: addressFamily(entry.address.family), index: entry.index, state: NUD_PERMANENT },
      { destination: addressToBytes(entry.address), lladdr: parseMac(entry.mac) },
    ],
    NLM_F_CREATE | NLM_F_REPLACE,
  );
}

/**
 * Gives an entry that is there another hardware address, which the kernel uses at once and verifies as it does any that it
 * has learned. ENOENT where there is no entry.
 */
export function changeNeighbour(entry: Neighbour): Request {
  return request(
    RTM_NEWNEIGH,
    () => neighbourObject(entry),
    `ip neigh change ${formatAddress(entry.address)} lladdr ${entry.mac} dev index ${entry.index} nud stale`,
    { family: addressFamily(entry.address.family), index: entry.index, state: NUD_STALE },
    { destination: addressToBytes(entry.address), lladdr: parseMac(entry.mac) },
    NLM_F_REPLACE,
  );
}

export function deleteNeighbour(entry: Neighbour): Request {
  return request(
    RTM_DELNEIGH,
    () => neighbourObject(entry),
    `ip neigh del ${formatAddress(entry.address)} dev index ${entry.index}`,
    { family: addressFamily(entry.address.family), index: entry.index },
    { destination: addressToBytes(entry.address) },
  );
}

/** Adds the entry, or leads the hardware address to its new node in one step. */
export function replaceForwarding(entry: Forwarding): Request {
  return lateRequest(
    RTM_NEWNEIGH,
    () => forwardingObject(entry),
    () =>
      `bridge fdb replace ${entry.mac} dev index ${entry.index} dst ${formatAddress(entry.destination)} self permanent`,
    () => [
      { family: AF_BRIDGE, index: entry.index, state: NUD_PERMANENT, flags: NTF_SELF },
      { destination: addressToBytes(entry.destination), lladdr: parseMac(entry.mac) },
    ],
    NLM_F_CREATE | NLM_F_REPLACE,
  );
}

/** All that is known of the hardware address: without a destination the kernel does not ask by which port or VNI. */
export function deleteForwarding({ index, mac }: Pick<Forwarding, "index" | "mac">): Request {
  return request(
    RTM_DELNEIGH,
    () => forwardingObject({ index, mac }),
    `bridge fdb del ${mac} dev index ${index} self`,
    { family: AF_BRIDGE, index, flags: NTF_SELF },
    { lladdr: parseMac(mac) },
  );
}
