/**
 * The VXLAN device of a node, its VTEP: made, compared with what it should be, changed in place where the kernel can.
 */

import { VTEP_ALIAS } from "../footprint.ts";
import { type Address, addressFromBytes, addressToBytes, formatAddress, isSameAddress } from "../ip/address.ts";
import { parseMac } from "../ip/mac.ts";
import type { Prefix } from "../ip/prefix.ts";
import { IFF_UP, RTM_NEWLINK } from "../netlink/link.ts";
import { NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../netlink/message.ts";
import type { DevicePlan } from "./device.ts";
import { deleteLink, type Link, linkObject } from "./link.ts";

/** What a VTEP is to be. */
export interface Vtep {
  readonly name: string;
  /** VXLAN network identifier, 24 bits. */
  readonly vni: number;
  /** UDP port, ours and the peers'. */
  readonly port: number;
  /** The source of the outer packets; its family is the underlay's. */
  readonly local: Address;
  /** The underlay's link. */
  readonly underlayIndex: number;
  /** Stated, so that it is known to peers before the first packet and no MAC policy changes it. */
  readonly mac: string;
  readonly mtu: number;
  /** The device's own addresses: what this node's packets to pods elsewhere carry as their source. */
  readonly addresses: readonly Prefix[];
  /** By which it is known to be ours. [VTEP_ALIAS] */
  readonly alias?: string;
}

/**
 * What brings `link`, the device of this name if there is one, to what it should be. One that gets another hardware
 * address is not ready: it loses all its neighbours by it, the permanent ones too (neigh_changeaddr).
 */
export function planVtep(wanted: Vtep, link: Link | undefined): DevicePlan {
  if (link === undefined) return { requests: [createVtep(wanted)], isReady: false, removes: false };
  if (canBeChanged(wanted, link))
    return { requests: adjustVtep(wanted, link), isReady: link.mac === wanted.mac, removes: false };
  return { requests: [deleteLink(link), createVtep(wanted)], isReady: false, removes: true };
}

/** VNI, port and the family of the underlay are for life. */
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

/** Down: an alias can only be set on a device that exists, and comes with bringing it up. */
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

/** What differs, in place. The kernel refuses an MTU beside VXLAN settings (vxlan_nl2conf), so these go first, alone. */
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
    // The same address once more would cost the device its neighbours.
    `ip link set ${name}${link.mac === mac ? "" : ` address ${mac}`} mtu ${mtu} alias ${ifalias} up`,
    { index: link.index, flags: IFF_UP, change: IFF_UP },
    {
      address: link.mac === mac ? undefined : parseMac(mac),
      mtu,
      ifalias,
    },
  );
}
