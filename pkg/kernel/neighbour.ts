/**
 * Neighbours (the hardware address of an IP address on a link) and forwarding entries of a VXLAN device (the node that
 * has a hardware address). The kernel uses neighbour messages for both; this file has a type for each.
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

/** Sends frames for `mac` to the VTEP at `destination`. */
export interface Forwarding {
  readonly index: number;
  readonly mac: string;
  readonly destination: Address;
}

export type ObservedForwarding = Forwarding & {
  /**
   * True for an entry as `replaceForwarding` writes it: it does not age, and it uses the device's own port, VNI and
   * underlay.
   */
  readonly isPlain: boolean;
};

/**
 * Parses RTM_NEWNEIGH of an IP family. Returns `undefined` for other families and for entries without a hardware
 * address.
 */
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

/**
 * Parses RTM_NEWNEIGH of AF_BRIDGE. Returns `undefined` for entries without a remote node (a bridge's own, multicast).
 */
export function parseForwarding(message: Message): ObservedForwarding | undefined {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  if (header.family !== AF_BRIDGE || attributes.destination === undefined || attributes.lladdr === undefined)
    return undefined;
  // The kernel reports these attributes only if they differ from the device's (vxlan_fdb_info).
  const { port, vni, interfaceIndex } = attributes;
  const isDiverted = port !== undefined || vni !== undefined || interfaceIndex !== undefined;
  return {
    index: header.index,
    mac: formatMac(attributes.lladdr),
    destination: addressFromBytes(attributes.destination),
    isPlain: (header.state & NUD_PERMANENT) !== 0 && !isDiverted,
  };
}

/** The state (NUD_*) of an address on a link, and its hardware address if known. */
export interface NeighbourState {
  readonly state: number;
  readonly mac: string | undefined;
}

export function parseNeighbourState(message: Message): NeighbourState {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  return { state: header.state, mac: attributes.lladdr === undefined ? undefined : formatMac(attributes.lladdr) };
}

/** True for a static entry: the kernel neither ages it nor learns another hardware address for it. */
export function isStatic({ state }: NeighbourState): boolean {
  return (state & (NUD_PERMANENT | NUD_NOARP)) !== 0;
}

/** Identifies a neighbour as the kernel does: by link and address. */
export function neighbourObject({ index, address }: Pick<Neighbour, "index" | "address">): ObjectIdentity {
  return { kind: "neighbour", key: `index ${index} ${formatAddress(address)}` };
}

/** Identifies a forwarding entry as the kernel does: by link and hardware address. */
export function forwardingObject({ index, mac }: Pick<Forwarding, "index" | "mac">): ObjectIdentity {
  return { kind: "forwarding", key: `index ${index} ${formatMac(parseMac(mac))}` };
}

/** Gets one entry. Fails with ENOENT if there is none. */
export function getNeighbour(index: number, address: Address): Query {
  return query(
    RTM_GETNEIGH,
    () => `ip neigh get ${formatAddress(address)} dev index ${index}`,
    { family: addressFamily(address.family), index },
    { destination: addressToBytes(address) },
  );
}

/**
 * Makes the kernel resolve the address on the link. `isKnown` is true if the kernel already has an entry with a
 * hardware address.
 */
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

/** Parses an entry of `forwardingDump`: a hardware address, and the bridge port that leads to it. */
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

/** Dumps the entries of all bridges and VXLAN devices: filter the result by index. */
export function forwardingDump(): Query {
  return dumpRequest(RTM_GETNEIGH, "bridge fdb show", { family: AF_BRIDGE }, {});
}

/** Adds the entry, or changes the hardware address of an existing entry in one step. */
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
 * Changes the hardware address of an existing entry. The kernel uses the new address at once, and verifies it as it
 * verifies a learned one. Fails with ENOENT if there is no entry.
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

/** Adds the entry, or changes the node of an existing entry in one step. */
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

/**
 * Deletes every entry of the hardware address: without a destination in the request the kernel compares neither port
 * nor VNI.
 */
export function deleteForwarding({ index, mac }: Pick<Forwarding, "index" | "mac">): Request {
  return request(
    RTM_DELNEIGH,
    () => forwardingObject({ index, mac }),
    `bridge fdb del ${mac} dev index ${index} self`,
    { family: AF_BRIDGE, index, flags: NTF_SELF },
    { lladdr: parseMac(mac) },
  );
}
