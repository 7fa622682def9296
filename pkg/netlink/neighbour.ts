/**
 * Neighbours (ARP, ND) and forwarding entries of VXLAN devices and bridges, which use the same message with AF_BRIDGE:
 * RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH (include/uapi/linux/neighbour.h).
 */
import { attribute, attributes, be16, bytes, i32, struct, u8, u16, u32, type ValueOf } from "./codec.ts";
import type { MessageType } from "./message.ts";

/** The entry is never aged or probed; since Linux 5.0 it does not count against gc_thresh3. */
export const NUD_PERMANENT = 0x80;
export const NUD_NOARP = 0x40;
/** The kernel is resolving the hardware address; the entry is not usable until the answer arrives. */
export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_DELAY = 0x08;
/** The hardware address is known, and the kernel is verifying it. */
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
/** Resolve the address as if a packet were sent to it. */
export const NTF_USE = 0x01;
/** The entry belongs to the device itself (the FDB of a VXLAN device), not to the bridge above it. */
export const NTF_SELF = 0x02;

/** The kernel answers for the address on the link, on behalf of a host behind another link. */
export const NTF_PROXY = 0x08;

/** struct ndmsg */
const ndmsg = struct({ family: u8, padding1: u8, padding2: u16, index: i32, state: u16, flags: u8, type: u8 });

const neighbourAttributes = attributes({
  /**
   * AF_INET, AF_INET6: the neighbour's address. AF_BRIDGE: the VTEP to which a VXLAN device sends frames for `lladdr`.
   */
  destination: attribute(1, "NDA_DST", bytes),
  lladdr: attribute(2, "NDA_LLADDR", bytes),
  port: attribute(6, "NDA_PORT", be16),
  vni: attribute(7, "NDA_VNI", u32),
  interfaceIndex: attribute(8, "NDA_IFINDEX", u32),
  master: attribute(9, "NDA_MASTER", u32),
  /** RTPROT_*: the program that added the entry. */
  protocol: attribute(12, "NDA_PROTOCOL", u8),
});

type NeighbourMessage = MessageType<ValueOf<typeof ndmsg>, ValueOf<typeof neighbourAttributes>>;

export const RTM_NEWNEIGH: NeighbourMessage = {
  identifier: "RTM_NEWNEIGH",
  type: 28,
  header: ndmsg,
  attributes: neighbourAttributes,
};
export const RTM_DELNEIGH: NeighbourMessage = {
  identifier: "RTM_DELNEIGH",
  type: 29,
  header: ndmsg,
  attributes: neighbourAttributes,
};
export const RTM_GETNEIGH: NeighbourMessage = {
  identifier: "RTM_GETNEIGH",
  type: 30,
  header: ndmsg,
  attributes: neighbourAttributes,
};
