/**
 * This node's VXLAN devices: one for each overlay that it takes part in and each family of underlay that carries pods.
 * flannel's names and MTUs, so that either takes over what the other made.
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

/** Who speaks another VNI, or by another UDP port, hears nothing of it. */
export interface Overlay {
  readonly vni: number;
  readonly port: number;
}

export function overlayOf({ vni, port }: Overlay): Overlay {
  return { vni, port };
}

/** Of a device that this backend has planned. */
export function vtepOf(device: Device): VtepDevice {
  return device as VtepDevice;
}

/** Outer Ethernet, IP, UDP and VXLAN headers, less the Ethernet header that the underlay's MTU does not count (RFC 7348). */
export const VXLAN_OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** The smallest MTU of a link that carries IPv6 (RFC 8200 section 5): the kernel takes IPv6 from a device with less. */
const SMALLEST_IPV6_MTU = 1280;

/** flannel's names. */
export function vtepName(family: Family, vni: number): string {
  return `${VTEP_NAME_START[family]}${vni}`;
}

const FLANNELS_NAMES = Object.values(VTEP_NAME_START);
const ALL_NAMES = [...FLANNELS_NAMES, ...Object.values(SECOND_VTEP_NAME_START)];

/** True for names that begin with one of `starts`, and go on with a VNI. */
function isNamed(name: string, starts: readonly string[]): boolean {
  return starts.some((start) => name.startsWith(start) && /^\d+$/.test(name.slice(start.length)));
}

/** For a second device of the same VNI: while a cluster changes its port, both are needed. */
function secondName(family: Family, vni: number): string {
  // The device keeps this name afterwards: before Linux 6.2, the kernel cannot rename a device that is up.
  return `${SECOND_VTEP_NAME_START[family]}${vni}`;
}

/** A VTEP that this node has: in the kernel, or, where somebody removed it, in the memory of what was announced. */
export interface KnownVtep extends KnownDevice {
  /** By which peers know it. */
  readonly mac: string;
  /** What the kernel's device is; undefined where there is none. */
  readonly device: (Overlay & { readonly family: Family; readonly isOurs: boolean }) | undefined;
}

/**
 * The VTEPs that peers know of. What this node announced last in this boot (`remembered`, by name) beats what a device
 * has now: another program may have changed that, and it is put back. What nobody remembers is taken from the device as
 * it is: flannel made it and announced it.
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
  /** In the order of their importance: the first has the best claim to a name. */
  readonly overlays: readonly Overlay[];
  /** What the underlay carries, where it is not the interface's own MTU; bytes. */
  readonly underlayMtu: number | undefined;
}

/** Devices for `overlays`. A family of pods that no device can carry is one of `problems`. */
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
        // One for all overlays: a peer that has not heard of a change, or knows no other VNI, is still understood.
        mac:
          known.find((vtep) => vtep.name === name)?.mac ?? kept ?? deriveMac(node.name, vtepName(family, overlay.vni)),
        mtu: mtu - VXLAN_OVERHEAD[family],
        addresses: subnets.map(({ address }): Prefix => ({ address, length: address.family === 4 ? 32 : 128 })),
      });
    });
  });
}

interface Carrier {
  /** Of the underlay. */
  readonly family: Family;
  readonly local: Vtep["local"];
  /** This node's subnets whose pods go by it. */
  readonly subnets: readonly Prefix[];
}

/** Pods go by the underlay of their own family, as flannel's do; where there is none, by the other one. */
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
    const reason = `this node's underlay leaves ${left} bytes within VXLAN, and IPv6 needs ${SMALLEST_IPV6_MTU}`;
    problems.push({ peer: name, trouble: "Underlay", reason: `${reason}: its IPv${family} pods reach no other node` });
  }
  return ([4, 6] as const).flatMap((family) => {
    const local = underlay.local[family];
    return local === undefined || carried[family].length === 0 ? [] : [{ family, local, subnets: carried[family] }];
  });
}

/** The families of underlay that pods of `family` may go by, the best first. */
export function preferred(family: Family): readonly Family[] {
  return family === 4 ? [4, 6] : [6, 4];
}

/** True when packets of `family` go through a device of this MTU. */
export function carries(mtu: number, family: Family): boolean {
  return family === 4 || mtu >= SMALLEST_IPV6_MTU;
}

/** A device that serves an overlay already keeps its name; the others get flannel's, or, where that is in use, our own. */
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
