/**
 * Addresses on links: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR (include/uapi/linux/if_addr.h).
 */
import { attribute, attributes, bytes, cstring, struct, u8, u32, type ValueOf } from "./codec.ts";
import type { MessageType } from "./message.ts";

/** No duplicate address detection (IPv6). */
export const IFA_F_NODAD = 0x02;
/** Detection has found a duplicate. */
export const IFA_F_DADFAILED = 0x08;
/** Detection is still in progress. */
export const IFA_F_TENTATIVE = 0x40;
export const IFA_F_PERMANENT = 0x80;
/** No connected route for the address's prefix. */
export const IFA_F_NOPREFIXROUTE = 0x200;

/** struct ifaddrmsg */
const ifaddrmsg = struct({ family: u8, prefixLength: u8, flags: u8, scope: u8, index: u32 });

const addressAttributes = attributes({
  /** The peer's address on point-to-point links; otherwise the same as `local`. */
  address: attribute(1, "IFA_ADDRESS", bytes),
  /** The link's own address (IPv4; IPv6 only for point-to-point). */
  local: attribute(2, "IFA_LOCAL", bytes),
  label: attribute(3, "IFA_LABEL", cstring),
  broadcast: attribute(4, "IFA_BROADCAST", bytes),
  /** All flags; the header has the lowest 8 bits only. */
  flags: attribute(8, "IFA_FLAGS", u32),
});

type AddressMessage = MessageType<ValueOf<typeof ifaddrmsg>, ValueOf<typeof addressAttributes>>;

export const RTM_NEWADDR: AddressMessage = {
  identifier: "RTM_NEWADDR",
  type: 20,
  header: ifaddrmsg,
  attributes: addressAttributes,
};
export const RTM_DELADDR: AddressMessage = {
  identifier: "RTM_DELADDR",
  type: 21,
  header: ifaddrmsg,
  attributes: addressAttributes,
};
export const RTM_GETADDR: AddressMessage = {
  identifier: "RTM_GETADDR",
  type: 22,
  header: ifaddrmsg,
  attributes: addressAttributes,
};
