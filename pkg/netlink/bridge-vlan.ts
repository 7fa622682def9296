/**
 * VLANs of a bridge and its ports: link messages of family AF_BRIDGE, whose IFLA_AF_SPEC contains IFLA_BRIDGE_VLAN_INFO
 * (include/uapi/linux/if_bridge.h, net/bridge/br_netlink.c).
 */
import { attribute, attributes, cstring, list, struct, u16, u32, type ValueOf } from "./codec.ts";
import { ifinfomsg } from "./link.ts";
import type { MessageType } from "./message.ts";

/** BRIDGE_VLAN_INFO_*: the VLAN of untagged frames; frames are sent untagged; the first and last VLAN of a range. */
export const BRIDGE_VLAN_INFO = { pvid: 1 << 1, untagged: 1 << 2, rangeBegin: 1 << 3, rangeEnd: 1 << 4 } as const;

/** IFLA_EXT_MASK: include VLANs in a dump, with consecutive VLANs of equal flags as one range. */
export const RTEXT_FILTER_BRVLAN_COMPRESSED = 1 << 2;

const IFLA_BRIDGE_VLAN_INFO = 2;

/** struct bridge_vlan_info; a range is two of them. */
const bridgeVlanInfo = struct({ flags: u16, vid: u16 });
export type BridgeVlanInfo = ValueOf<typeof bridgeVlanInfo>;

const portAttributes = attributes(
  {
    ifname: attribute(3, "IFLA_IFNAME", cstring),
    master: attribute(10, "IFLA_MASTER", u32),
    vlans: attribute(26, "IFLA_AF_SPEC", list<BridgeVlanInfo>(IFLA_BRIDGE_VLAN_INFO, bridgeVlanInfo)),
    extendedMask: attribute(29, "IFLA_EXT_MASK", u32),
  },
  { dropUnknown: true },
);

type PortMessage = MessageType<ValueOf<typeof ifinfomsg>, ValueOf<typeof portAttributes>>;

function message(identifier: string, type: number): PortMessage {
  return { identifier, type, header: ifinfomsg, attributes: portAttributes };
}

export const RTM_NEWLINK = message("RTM_NEWLINK", 16);
export const RTM_DELLINK = message("RTM_DELLINK", 17);
export const RTM_GETLINK = message("RTM_GETLINK", 18);
export const RTM_SETLINK = message("RTM_SETLINK", 19);
