/**
 * A node's VXLAN device (VTEP): creates it, compares it with its desired state, and changes it in place if the kernel
 * allows it.
 */

import { VTEP_ALIAS } from "../footprint.ts";
import { type Address, addressFromBytes, addressToBytes, formatAddress, isSameAddress } from "../ip/address.ts";
import { parseMac } from "../ip/mac.ts";
import type { Prefix } from "../ip/prefix.ts";
import { IFF_UP, RTM_NEWLINK } from "../netlink/link.ts";
import { NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../netlink/message.ts";
import type { DevicePlan } from "./device.ts";
import { deleteLink, type Link, linkObject } from "./link.ts";

/** The desired state of a VTEP. */
export interface Vtep {
  readonly name: string;
  /** VXLAN network identifier, 24 bits. */
  readonly vni: number;
  /** The UDP port of this node and of its peers. */
  readonly port: number;
  /** The source of the outer packets; its family is that of the underlay. */
  readonly local: Address;
  /** The index of the underlay's link. */
  readonly underlayIndex: number;
  /** A fixed address: peers know it before the first packet, and no MAC policy changes it. */
  readonly mac: string;
  readonly mtu: number;
  /** The device's own addresses, which are the source of this node's packets to pods on other nodes. */
  readonly addresses: readonly Prefix[];
  /** The alias that marks the device as weft's. [VTEP_ALIAS] */
  readonly alias?: string;
}

/**
 * Plans the changes that bring `link`, the existing device of this name, to the desired state. A device that gets
 * another hardware address is not ready: the change removes all its neighbours, including the permanent ones
 * (neigh_changeaddr).
 */
export function planVtep(wanted: Vtep, link: Link | undefined): DevicePlan {
  if (link === undefined) return { requests: [createVtep(wanted)], isReady: false, removes: false };
  if (canBeChanged(wanted, link))
    return { requests: adjustVtep(wanted, link), isReady: link.mac === wanted.mac, removes: false };
  return { requests: [deleteLink(link), createVtep(wanted)], isReady: false, removes: true };
}

/** The kernel cannot change VNI, port and underlay family of an existing device. */
function canBeChanged(wanted: Vtep, link: Link): boolean {
  const { vxlan } = link;
  if (link.kind !== "vxlan" || vxlan === undefined) return false;
  const familyKept = wanted.local.family === 4 ? vxlan.local6 === undefined : vxlan.local === undefined;
  return vxlan.vni === wanted.vni && vxlan.port === wanted.port && familyKept;
}

function hasSettings(wanted: Vtep, { vxlan }: Link): boolean {
  const bytes = wanted.local.family === 4 ? vxlan?.local : vxlan?.local6;
  return (
    bytes !== undefined &&
    isSameAddress(addressFromBytes(bytes), wanted.local) &&
    vxlan?.link === wanted.underlayIndex &&
    vxlan.learning !== 1
  );
}

function isReady(wanted: Vtep, link: Link): boolean {
  return link.mac === wanted.mac && link.mtu === wanted.mtu && link.isUp && link.alias === aliasOf(wanted);
}

function aliasOf({ alias = VTEP_ALIAS }: Vtep): string {
  return alias;
}

function settings(wanted: Vtep) {
  return {
    link: wanted.underlayIndex,
    local: wanted.local.family === 4 ? addressToBytes(wanted.local) : undefined,
    local6: wanted.local.family === 6 ? addressToBytes(wanted.local) : undefined,
    learning: 0,
  };
}

function describe({ name, vni, port, local, underlayIndex, mac, mtu }: Vtep): string {
  return (
    `${name} address ${mac} mtu ${mtu} type vxlan id ${vni} dstport ${port} local ${formatAddress(local)} ` +
    `dev index ${underlayIndex} nolearning`
  );
}

/**
 * Creates the device down. The kernel accepts an alias only on an existing device, so the request that brings it up
 * sets the alias.
 */
function createVtep(wanted: Vtep): Request {
  return request(
    RTM_NEWLINK,
    linkObject(wanted.name),
    `ip link add ${describe(wanted)}`,
    // Not up: if weftd were killed before the alias is set, the device would look like another program's.
    {},
    {
      ifname: wanted.name,
      address: parseMac(wanted.mac),
      mtu: wanted.mtu,
      linkInfo: { device: { kind: "vxlan", data: { vni: wanted.vni, port: wanted.port, ...settings(wanted) } } },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * Changes only the differences, in place. The kernel refuses an MTU together with VXLAN settings (vxlan_nl2conf), so a
 * separate request sets these first.
 */
function adjustVtep(wanted: Vtep, link: Link): Request[] {
  return [
    ...(hasSettings(wanted, link) ? [] : [changeSettings(wanted, link)]),
    ...(isReady(wanted, link) ? [] : [makeReady(wanted, link)]),
  ];
}

function changeSettings(wanted: Vtep, link: Link): Request {
  return request(
    RTM_NEWLINK,
    linkObject(wanted.name),
    `ip link set ${wanted.name} type vxlan local ${formatAddress(wanted.local)} dev index ${wanted.underlayIndex} nolearning`,
    { index: link.index },
    { linkInfo: { device: { kind: "vxlan", data: settings(wanted) } } },
  );
}

function makeReady(wanted: Vtep, link: Link): Request {
  const { name, mac, mtu } = wanted;
  const ifalias = aliasOf(wanted);
  return request(
    RTM_NEWLINK,
    linkObject(name),
    // Setting the same address again would remove the device's neighbours.
    `ip link set ${name}${link.mac === mac ? "" : ` address ${mac}`} mtu ${mtu} alias ${ifalias} up`,
    { index: link.index, flags: IFF_UP, change: IFF_UP },
    {
      address: link.mac === mac ? undefined : parseMac(mac),
      mtu,
      ifalias,
    },
  );
}
