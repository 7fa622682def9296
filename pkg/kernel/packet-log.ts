/** Packets that rules log (`log group N`), which the kernel sends to the one socket that has bound the group. */
import { decode, type Message, type Query, query } from "../netlink/message.ts";
import { NFULNL_CFG_CMD, NFULNL_COPY_PACKET, NFULNL_MSG_CONFIG, NFULNL_MSG_PACKET } from "../netlink/nflog.ts";

export interface LoggedPacket {
  /** The rule's `log prefix`. */
  readonly prefix: string;
  /** The beginning of the packet, from the IP header on. */
  readonly bytes: Uint8Array;
}

export interface PacketLogSettings {
  readonly group: number;
  /** The number of bytes of each packet that the kernel copies. */
  readonly copiedBytes: number;
  /** The kernel sends this number of packets at once, or fewer if the first has waited for `delayMs`. */
  readonly packetsAtOnce: number;
  /** A multiple of 10. */
  readonly delayMs: number;
}

/**
 * Binds the group to the socket until the socket is closed. Fails with EPERM if another socket has the group, and with
 * EINVAL if the kernel lacks nfnetlink_log.
 */
export function bindPacketLog({ group, copiedBytes, packetsAtOnce, delayMs }: PacketLogSettings): Query {
  return query(
    NFULNL_MSG_CONFIG,
    `bind nfnetlink_log group ${group}`,
    { resourceId: group },
    {
      command: NFULNL_CFG_CMD.bind,
      mode: { copyRange: copiedBytes, copyMode: NFULNL_COPY_PACKET, padding: 0 },
      timeout: delayMs / 10,
      threshold: packetsAtOnce,
    },
  );
}

/** Returns undefined if the message is not a logged packet. Throws `CodecError`. */
export function parseLoggedPacket(message: Message): LoggedPacket | undefined {
  if (message.type !== NFULNL_MSG_PACKET.type) return undefined;
  const { prefix = "", payload } = decode(NFULNL_MSG_PACKET, message).attributes;
  return payload === undefined ? undefined : { prefix, bytes: payload };
}
