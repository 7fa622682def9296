/** VLANs (IEEE 802.1Q) of bridges and their ports: what the kernel holds, and the requests that change it. */
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

/** VLAN 0 is no VLAN, 4095 is reserved (IEEE 802.1Q-2018, table 9-2). */
export const LAST_VLAN = 4094;

/** Both ends belong to it. */
export interface VlanRange {
  readonly first: number;
  readonly last: number;
}

/** What a port of a bridge takes and gives. */
export interface PortVlans {
  /** Frames without a tag belong to it, and its frames leave the port without one. */
  readonly native: number;
  /** Frames of these have tags; `native` is not among them. */
  readonly tagged: readonly VlanRange[];
}

/** The VLANs of one port, or of the bridge's own device, as a dump tells them. */
export interface ObservedVlans {
  readonly index: number;
  readonly name: string;
  /** The bridge's; of the bridge's own device, its own. */
  readonly bridgeIndex: number;
  readonly vlans: readonly (VlanRange & { readonly isNative: boolean; readonly isUntagged: boolean })[];
}

function vlansObject(portIndex: number): ObjectIdentity {
  return { kind: "vlan", key: `index ${portIndex}` };
}

/** Makes the bridge look at tags, or pass all frames on whatever their tags. EOPNOTSUPP where the kernel cannot. */
export function setVlanFiltering(bridge: LinkReference, on: boolean): Request {
  return request(
    RTM_NEWLINK_ANY,
    linkObject(bridge),
    `ip link set index ${bridge.index} type bridge vlan_filtering ${on ? 1 : 0}`,
    { index: bridge.index },
    { linkInfo: { device: { kind: "bridge", data: { vlanFiltering: on ? 1 : 0 } } } },
  );
}

/** Adds `vlans` to those of a port. EOPNOTSUPP where the kernel has no VLAN filtering, or the link is no port. */
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

/** Takes a port out of all VLANs. */
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

/** The VLANs of all ports of the namespace, and of the bridges themselves. */
export function portVlanDump(): Query {
  return dumpRequest(
    RTM_GETLINK,
    "bridge vlan show",
    { family: AF_BRIDGE },
    { extendedMask: RTEXT_FILTER_BRVLAN_COMPRESSED },
  );
}

/** Reads an answer to `portVlanDump`. */
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

/** The first VLAN of `wanted` that is not on the port as it should be; others may be there too. */
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

/** True when the port is in this VLAN. */
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
