/** Receives the packets that rules log to a group (nfnetlink_log). */
import { bindPacketLog, type LoggedPacket, parseLoggedPacket } from "../../pkg/kernel/packet-log.ts";
import { ByteWriter } from "../../pkg/netlink/bytes.ts";
import { NetlinkError } from "../../pkg/netlink/errors.ts";
import { NLM_F_ACK, NLMSG_ERROR, readAcknowledgement, splitDatagram, writeRequest } from "../../pkg/netlink/message.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";

/** The headers of IPv6 with extensions and of TCP. */
const COPIED_BYTES = 128;

/** In a flood, the kernel wakes weftd once for this number of packets. A single packet waits for `DELAY_MS`. */
const PACKETS_AT_ONCE = 32;
const DELAY_MS = 50;

/** The sequence number of the only request. Logged packets have 0. */
const SEQUENCE = 1;

export interface PacketLogListener {
  onPacket(packet: LoggedPacket): void;
  /** Packets were lost, because they arrived faster than they were read, or because they cannot be read. */
  onLoss(): void;
  /** The socket is unusable. */
  onBroken(error: Error): void;
}

/**
 * Binds the group to `socket`, which must have no other use, and receives its packets until the socket is closed.
 * Rejects with `NetlinkError`: EPERM if another program has the group.
 */
export function listenToPacketLog(
  socket: EventNetlinkSocket,
  group: number,
  listener: PacketLogListener,
): Promise<void> {
  const settings = { group, copiedBytes: COPIED_BYTES, packetsAtOnce: PACKETS_AT_ONCE, delayMs: DELAY_MS };
  const request = bindPacketLog(settings);
  return new Promise((resolve, reject) => {
    socket.onDatagram((datagram) => {
      try {
        for (const message of splitDatagram(datagram)) {
          if (message.type === NLMSG_ERROR && message.sequence === SEQUENCE) {
            const { errno, extendedText } = readAcknowledgement(message);
            if (errno === 0) resolve();
            else reject(new NetlinkError(request, errno, extendedText, "this node"));
            continue;
          }
          const packet = parseLoggedPacket(message);
          if (packet !== undefined) listener.onPacket(packet);
        }
      } catch {
        listener.onLoss();
      }
    });
    socket.onError((error) => {
      if (isSystemError(error, "ENOBUFS")) {
        listener.onLoss();
        return;
      }
      reject(error);
      listener.onBroken(error);
    });
    const writer = new ByteWriter();
    writeRequest(writer, request, SEQUENCE, NLM_F_ACK);
    socket.send(writer.finish());
  });
}
