/**
 * This node's VXLAN devices: one for each of its overlays and each underlay family that carries pods. Names and MTUs
 * are flannel's, so each program can adopt the other's devices.
 */

import { SECOND_VTEP_NAME_START, VTEP_ALIAS, VTEP_NAME_START } from "../../footprint.ts";
import type { Family } from "../../ip/address.ts";
import type { Prefix } from "../../ip/prefix.ts";
import type { Device } from "../../kernel/device.ts";
import type { Link } from "../../kernel/link.ts";
import type { Vtep } from "../../kernel/vtep.ts";
import { type VtepDevice, vtepDevice } from "../../kernel/vtep-device.ts";
import type { KnownDevice } from "../contract.ts";
import { deriveMac } from "../derived-mac.ts";
import type { LocalNode } from "../node.ts";
import type { PeerProblem } from "../state.ts";

/** A VXLAN overlay. Nodes with another VNI or UDP port do not receive its packets. */
export interface Overlay {
  readonly vni: number;
  readonly port: number;
}

export function overlayOf({ vni, port }: Overlay): Overlay {
  return { vni, port };
}

/** Returns a device that this backend planned. */
export function vtepOf(device: Device): VtepDevice {
  return device as VtepDevice;
}

/**
 * The outer Ethernet, IP, UDP and VXLAN headers, less the underlay's Ethernet header, which its MTU does not include
 * (RFC 7348).
 */
export const VXLAN_OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/**
 * The smallest MTU of a link for IPv6 (RFC 8200, section 5). The kernel disables IPv6 on a device with a smaller MTU.
 */
const SMALLEST_IPV6_MTU = 1280;

/** Returns flannel's name for the device. */
export function vtepName(family: Family, vni: number): string {
  return `${VTEP_NAME_START[family]}${vni}`;
}

const FLANNELS_NAMES = Object.values(VTEP_NAME_START);
const ALL_NAMES = [...FLANNELS_NAMES, ...Object.values(SECOND_VTEP_NAME_START)];

/** True for names that consist of one of `starts` and a VNI. */
function isNamed(name: string, starts: readonly string[]): boolean {
  return starts.some((start) => name.startsWith(start) && /^\d+$/.test(name.slice(start.length)));
}

/** Returns the name of a second device with the same VNI. Both are needed while a cluster changes its port. */
function secondName(family: Family, vni: number): string {
  // The device keeps this name afterwards: before Linux 6.2, the kernel cannot rename a device that is up.
  return `${SECOND_VTEP_NAME_START[family]}${vni}`;
}

/** A VTEP of this node: a device in the kernel or, if another program removed it, the record of its announcement. */
export interface KnownVtep extends KnownDevice {
  /** The hardware address by which peers know it. */
  readonly mac: string;
  /** The kernel's device. Undefined if there is none. */
  readonly device: (Overlay & { readonly family: Family; readonly isOurs: boolean }) | undefined;
}

/**
 * Returns the VTEPs that peers know. The last announcement of this node in this boot (`remembered`, by name) takes
 * precedence over a device's current address: another program may have changed it, and weftd restores it. For a device
 * without a record, the current address is used: flannel created the device and announced it.
 */
export function knownVteps(links: readonly Link[], remembered: ReadonlyMap<string, string>): readonly KnownVtep[] {
  const held = links.flatMap(({ kind, name, alias, mac, vxlan }): KnownVtep[] => {
    const isVtep = alias === VTEP_ALIAS || isNamed(name, remembered.has(name) ? ALL_NAMES : FLANNELS_NAMES);
    if (kind !== "vxlan" || !isVtep) return [];
    const family: Family = vxlan?.local6 === undefined ? 4 : 6;
    const device = { vni: vxlan?.vni ?? 0, port: vxlan?.port ?? 0, family, isOurs: alias === VTEP_ALIAS };
    return [{ name, mac: remembered.get(name) ?? mac, device }];
  });
  const missing = [...remembered].filter(
    ([name]) => isNamed(name, ALL_NAMES) && !held.some((vtep) => vtep.name === name),
  );
  return [...held, ...missing.map(([name, mac]) => ({ name, mac, device: undefined }))];
}

export interface DesiredOverlays {
  /** In order of importance: the first overlay has precedence for a name. */
  readonly overlays: readonly Overlay[];
  /** The underlay's MTU in bytes, if it differs from the interface's MTU. */
  readonly underlayMtu: number | undefined;
}

/** Returns the devices for `overlays`. Adds a problem for a family of pods that no device can carry. */
export function planVteps(
  { overlays, underlayMtu }: DesiredOverlays,
  node: LocalNode,
  known: readonly KnownVtep[],
  problems: PeerProblem[],
): VtepDevice[] {
  if (overlays.length === 0) return [];
  const mtu = Math.min(underlayMtu ?? node.underlay.mtu, node.underlay.mtu);
  const carriers = planCarriers(node, mtu, problems);
  const taken = new Set<string>();
  return carriers.flatMap(({ family, local, subnets }) => {
    const names = chooseNames(overlays, family, known, taken);
    const kept = known.find(({ device }) => device?.family === family)?.mac;
    return overlays.map((overlay, at) => {
      const name = names[at] ?? vtepName(family, overlay.vni);
      return vtepDevice({
        name,
        ...overlay,
        local,
        underlayIndex: node.underlay.index,
        // All overlays have one MAC: a peer that has not seen a change yet, or that reads no other VNI, can still send.
        mac:
          known.find((vtep) => vtep.name === name)?.mac ?? kept ?? deriveMac(node.name, vtepName(family, overlay.vni)),
        mtu: mtu - VXLAN_OVERHEAD[family],
        addresses: subnets.map(({ address }): Prefix => ({ address, length: address.family === 4 ? 32 : 128 })),
      });
    });
  });
}

interface Carrier {
  /** The underlay's family. */
  readonly family: Family;
  readonly local: Vtep["local"];
  /** This node's subnets whose pods use it. */
  readonly subnets: readonly Prefix[];
}

/** Assigns pods to the underlay of their own family, as flannel does. If there is none, to the other one. */
function planCarriers({ name, subnets, underlay }: LocalNode, mtu: number, problems: PeerProblem[]): Carrier[] {
  const carried: Record<Family, Prefix[]> = { 4: [], 6: [] };
  for (const family of [4, 6] as const) {
    const ofFamily = subnets.filter(({ address }) => address.family === family);
    if (ofFamily.length === 0) continue;
    const candidates = preferred(family).filter((other) => underlay.local[other] !== undefined);
    const carrier = candidates.find((other) => carries(mtu - VXLAN_OVERHEAD[other], family));
    if (carrier !== undefined) {
      carried[carrier].push(...ofFamily);
      continue;
    }
    const left = Math.max(...candidates.map((other) => mtu - VXLAN_OVERHEAD[other]));
    const reason = `this node's underlay leaves ${left} bytes within VXLAN, but IPv6 needs ${SMALLEST_IPV6_MTU}`;
    problems.push({
      peer: name,
      trouble: "Underlay",
      reason: `${reason}: its IPv${family} pods cannot reach other nodes`,
    });
  }
  return ([4, 6] as const).flatMap((family) => {
    const local = underlay.local[family];
    return local === undefined || carried[family].length === 0 ? [] : [{ family, local, subnets: carried[family] }];
  });
}

/** Returns the underlay families that can carry pods of `family`, the preferred one first. */
export function preferred(family: Family): readonly Family[] {
  return family === 4 ? [4, 6] : [6, 4];
}

/** True if a device of this MTU can carry packets of `family`. */
export function carries(mtu: number, family: Family): boolean {
  return family === 4 || mtu >= SMALLEST_IPV6_MTU;
}

/**
 * A device that already serves an overlay keeps its name. Other devices get flannel's name or, if it is in use, weft's
 * second name.
 */
function chooseNames(
  overlays: readonly Overlay[],
  family: Family,
  known: readonly KnownVtep[],
  taken: Set<string>,
): string[] {
  const held = overlays.map(({ vni, port }) => {
    const found = known.find(
      ({ device }) => device?.family === family && device.vni === vni && device.port === port,
    )?.name;
    if (found !== undefined) taken.add(found);
    return found;
  });
  return overlays.map(({ vni }, at) => {
    const name = held[at] ?? [vtepName(family, vni), secondName(family, vni)].find((free) => !taken.has(free));
    taken.add(name ?? "");
    return name ?? vtepName(family, vni);
  });
}
