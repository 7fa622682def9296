/**
 * Packets that rules log to a group: NFULNL_MSG_PACKET and NFULNL_MSG_CONFIG
 * (include/uapi/linux/netfilter/nfnetlink_log.h). The group is `resourceId` of the header. Numbers in attributes are in
 * network byte order.
 */
import { attribute, attributes, be32, bytes, cstring, struct, u8, type ValueOf } from "./codec.ts";
import type { MessageType } from "./message.ts";
import { nfgenmsg } from "./nftables.ts";

const NFNL_SUBSYS_ULOG = 4;

/** NFULNL_CFG_CMD_*. The kernel executes the command before it reads the other attributes of the message. */
export const NFULNL_CFG_CMD = { bind: 1, unbind: 2 } as const;

/** The packet itself is copied, besides its metadata. */
export const NFULNL_COPY_PACKET = 2;

/** struct nfulnl_msg_config_mode, which is packed. `copyRange` is in bytes. */
const mode = struct({ copyRange: be32, copyMode: u8, padding: u8 });

const configuration = attributes({
  command: attribute(1, "NFULA_CFG_CMD", u8),
  mode: attribute(2, "NFULA_CFG_MODE", mode),
  /** The longest time that a packet waits for others, in hundredths of a second. */
  timeout: attribute(4, "NFULA_CFG_TIMEOUT", be32),
  /** The number of packets that the kernel sends at once. */
  threshold: attribute(5, "NFULA_CFG_QTHRESH", be32),
});

const packet = attributes(
  {
    /** From the network header on, at most the copy range. */
    payload: attribute(9, "NFULA_PAYLOAD", bytes),
    prefix: attribute(10, "NFULA_PREFIX", cstring),
  },
  { dropUnknown: true },
);

type Nfgenmsg = ValueOf<typeof nfgenmsg>;

/** From the kernel. Several packets may be followed by NLMSG_DONE, although they are no dump. */
export const NFULNL_MSG_PACKET: MessageType<Nfgenmsg, ValueOf<typeof packet>> = {
  identifier: "NFULNL_MSG_PACKET",
  type: (NFNL_SUBSYS_ULOG << 8) | 0,
  header: nfgenmsg,
  attributes: packet,
};

/**
 * Configures a group. Fails with EPERM if another socket has the group, and with EINVAL if the kernel lacks
 * nfnetlink_log.
 */
export const NFULNL_MSG_CONFIG: MessageType<Nfgenmsg, ValueOf<typeof configuration>> = {
  identifier: "NFULNL_MSG_CONFIG",
  type: (NFNL_SUBSYS_ULOG << 8) | 1,
  header: nfgenmsg,
  attributes: configuration,
};
