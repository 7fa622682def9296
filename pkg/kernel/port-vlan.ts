/** VLANs (IEEE 802.1Q) of bridges and their ports: parses the kernel's state, and makes the requests that change it. */
import {
  BRIDGE_VLAN_INFO,
  type BridgeVlanInfo,
  RTEXT_FILTER_BRVLAN_COMPRESSED,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_SETLINK,
} from "../netlink/bridge-vlan.ts";
import { AF_BRIDGE, RTM_NEWLINK as RTM_NEWLINK_ANY } from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  type Message,
  type ObjectIdentity,
  type Query,
  type Request,
  request,
} from "../netlink/message.ts";
import { type LinkReference, linkObject } from "./link.ts";

/** VLAN 0 means no VLAN, and 4095 is reserved (IEEE 802.1Q-2018, table 9-2). */
export const LAST_VLAN = 4094;

/** A range of VLANs, including both ends. */
export interface VlanRange {
  readonly first: number;
  readonly last: number;
}

/** The VLANs of a bridge port. */
export interface PortVlans {
  /** The VLAN of untagged frames; its frames leave the port untagged. */
  readonly native: number;
  /** VLANs whose frames are tagged; does not contain `native`. */
  readonly tagged: readonly VlanRange[];
}

/** The VLANs of one port, or of the bridge's own device, as reported by a dump. */
export interface ObservedVlans {
  readonly index: number;
  readonly name: string;
  /** The index of the port's bridge; for the bridge's own device, its own index. */
  readonly bridgeIndex: number;
  readonly vlans: readonly (VlanRange & { readonly isNative: boolean; readonly isUntagged: boolean })[];
}

function vlansObject(portIndex: number): ObjectIdentity {
  return { kind: "vlan", key: `index ${portIndex}` };
}

/**
 * Makes the bridge filter by VLAN tags, or forward all frames whatever their tags. Fails with EOPNOTSUPP if the kernel
 * has no VLAN filtering.
 */
export function setVlanFiltering(bridge: LinkReference, on: boolean): Request {
  return request(
    RTM_NEWLINK_ANY,
    linkObject(bridge),
    `ip link set index ${bridge.index} type bridge vlan_filtering ${on ? 1 : 0}`,
    { index: bridge.index },
    { linkInfo: { device: { kind: "bridge", data: { vlanFiltering: on ? 1 : 0 } } } },
  );
}

/** Adds VLANs to a port. Fails with EOPNOTSUPP if the kernel has no VLAN filtering or the link is not a bridge port. */
export function addPortVlans(portIndex: number, { native, tagged }: PortVlans): Request {
  const words = [`vid ${native} pvid untagged`, ...tagged.map((range) => `vid ${rangeText(range)}`)];
  return request(
    RTM_SETLINK,
    vlansObject(portIndex),
    `bridge vlan add dev index ${portIndex} ${words.join(", ")}`,
    { family: AF_BRIDGE, index: portIndex },
    {
      vlans: [
        { vid: native, flags: BRIDGE_VLAN_INFO.pvid | BRIDGE_VLAN_INFO.untagged },
        ...tagged.flatMap((range) => rangeInfo(range)),
      ],
    },
  );
}

/** Removes a port from all VLANs. */
export function clearPortVlans(portIndex: number): Request {
  const all = { first: 1, last: LAST_VLAN };
  return request(
    RTM_DELLINK,
    vlansObject(portIndex),
    `bridge vlan del dev index ${portIndex} vid ${rangeText(all)}`,
    { family: AF_BRIDGE, index: portIndex },
    { vlans: rangeInfo(all) },
  );
}

/** Dumps the VLANs of all bridge ports in the namespace, and of the bridges themselves. */
export function portVlanDump(): Query {
  return dumpRequest(
    RTM_GETLINK,
    "bridge vlan show",
    { family: AF_BRIDGE },
    { extendedMask: RTEXT_FILTER_BRVLAN_COMPRESSED },
  );
}

/** Parses an answer to `portVlanDump`. */
export function parsePortVlans(message: Message): ObservedVlans {
  const { header, attributes } = decode(RTM_NEWLINK, message);
  const vlans: ObservedVlans["vlans"][number][] = [];
  let first = 0;
  for (const { vid, flags } of attributes.vlans ?? []) {
    if ((flags & BRIDGE_VLAN_INFO.rangeBegin) !== 0) {
      first = vid;
      continue;
    }
    vlans.push({
      first: (flags & BRIDGE_VLAN_INFO.rangeEnd) === 0 ? vid : first,
      last: vid,
      isNative: (flags & BRIDGE_VLAN_INFO.pvid) !== 0,
      isUntagged: (flags & BRIDGE_VLAN_INFO.untagged) !== 0,
    });
  }
  return { index: header.index, name: attributes.ifname ?? "", bridgeIndex: attributes.master ?? 0, vlans };
}

/** Returns the first VLAN that the port lacks or has with the wrong tagging. The port may have additional VLANs. */
export function missingVlan(vlans: ObservedVlans["vlans"], { native, tagged }: PortVlans): number | undefined {
  const has = (vid: number, isNative: boolean) =>
    vlans.some(
      (held) => held.first <= vid && vid <= held.last && held.isNative === isNative && held.isUntagged === isNative,
    );
  if (!has(native, true)) return native;
  for (const { first, last } of tagged) {
    for (let vid = first; vid <= last; vid++) if (!has(vid, false)) return vid;
  }
  return undefined;
}

/** True if the port is in this VLAN. */
export function isInVlan({ vlans }: ObservedVlans, vid: number): boolean {
  return vlans.some(({ first, last }) => first <= vid && vid <= last);
}

function rangeInfo({ first, last }: VlanRange): BridgeVlanInfo[] {
  if (first === last) return [{ vid: first, flags: 0 }];
  return [
    { vid: first, flags: BRIDGE_VLAN_INFO.rangeBegin },
    { vid: last, flags: BRIDGE_VLAN_INFO.rangeEnd },
  ];
}

function rangeText({ first, last }: VlanRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}
