/**
 * Neighbours (ARP, ND) and forwarding entries of VXLAN and bridges, which are the same message under AF_BRIDGE:
 * RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH (include/uapi/linux/neighbour.h).
 */
import { attribute, attributes, be16, bytes, i32, struct, u8, u16, u32, type ValueOf } from "./codec.ts";
import type { MessageType } from "./message.ts";

/** Never aged, never probed; since Linux 5.0 not counted against gc_thresh3. */
export const NUD_PERMANENT = 0x80;
export const NUD_NOARP = 0x40;
/** The kernel is resolving the hardware address; the entry cannot be used before the answer. */
export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_DELAY = 0x08;
/** The hardware address is known, and its owner is asked whether it is still there. */
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
/** As if a packet were sent there: an entry without a hardware address asks for it. */
export const NTF_USE = 0x01;
/** The entry belongs to the device itself (a VXLAN's FDB), not to the bridge above it. */
export const NTF_SELF = 0x02;

/** The kernel answers for the address on the link, in place of a host that is reached by another one. */
export const NTF_PROXY = 0x08;

/** struct ndmsg */
const ndmsg = struct({ family: u8, padding1: u8, padding2: u16, index: i32, state: u16, flags: u8, type: u8 });

const neighbourAttributes = attributes({
  /** AF_INET, AF_INET6: the neighbour's address. AF_BRIDGE: where a VXLAN sends frames for `lladdr`. */
  destination: attribute(1, "NDA_DST", bytes),
  lladdr: attribute(2, "NDA_LLADDR", bytes),
  port: attribute(6, "NDA_PORT", be16),
  vni: attribute(7, "NDA_VNI", u32),
  interfaceIndex: attribute(8, "NDA_IFINDEX", u32),
  master: attribute(9, "NDA_MASTER", u32),
  /** RTPROT_*: the program that made the entry. */
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
