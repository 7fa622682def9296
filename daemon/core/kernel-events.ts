/** Listens for rtnetlink notifications, by which the kernel announces changes. */
import { type Message, splitDatagram } from "../../pkg/netlink/message.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";

/**
 * RTNLGRP_* (include/uapi/linux/rtnetlink.h): links, neighbours and FDB, addresses, routes, and forwarding settings,
 * for both families.
 */
const GROUPS = [1, 3, 5, 7, 9, 11, 24, 25] as const;

export interface KernelListener {
  onMessage(message: Message): void;
  /** A message that cannot be read may be about any object. */
  onUnreadable(): void;
  /** Notifications were lost: any object may have changed. */
  onOverrun(): void;
  /** The socket is unusable. */
  onBroken(error: Error): void;
}

/** Listens until the socket is closed. */
export function listenToKernel(socket: EventNetlinkSocket, listener: KernelListener): void {
  socket.onDatagram((datagram) => {
    try {
      for (const message of splitDatagram(datagram)) listener.onMessage(message);
    } catch {
      listener.onUnreadable();
    }
  });
  socket.onError((error) => {
    if (isSystemError(error, "ENOBUFS")) listener.onOverrun();
    else listener.onBroken(error);
  });
  for (const group of GROUPS) socket.addMembership(group);
}
