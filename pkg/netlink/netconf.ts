/** Settings of links, as announced by the kernel: RTM_NEWNETCONF (include/uapi/linux/netconf.h). */
import { attribute, attributes, i32, struct, u8, type ValueOf } from "./codec.ts";
import type { MessageType } from "./message.ts";

/** struct netconfmsg */
const netconfmsg = struct({ family: u8 });

/** The NETCONFA_IFINDEX value for the settings of all links. */
export const NETCONFA_IFINDEX_ALL = -1;

const netconfAttributes = attributes(
  {
    index: attribute(1, "NETCONFA_IFINDEX", i32),
    forwarding: attribute(2, "NETCONFA_FORWARDING", i32),
    rpFilter: attribute(3, "NETCONFA_RP_FILTER", i32),
  },
  { dropUnknown: true },
);

export const RTM_NEWNETCONF: MessageType<ValueOf<typeof netconfmsg>, ValueOf<typeof netconfAttributes>> = {
  identifier: "RTM_NEWNETCONF",
  type: 80,
  header: netconfmsg,
  attributes: netconfAttributes,
};
