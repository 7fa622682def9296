/**
 * The kernel's word that nftables changed. Of what it tells about each rule and element (a cluster's services are
 * thousands of them) nothing is read but that somebody else has committed a transaction.
 */
import { decode, type Message, splitDatagram } from "../pkg/netlink/message.ts";
import { NFT_MSG_NEWGEN } from "../pkg/netlink/nftables.ts";
import { isSystemError } from "../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../pkg/sys/event-netlink.ts";

/** NFNLGRP_NFTABLES (include/uapi/linux/netfilter/nfnetlink.h) */
const NFNLGRP_NFTABLES = 7;

export interface GenerationListener {
  /** The port that this process commits by: what carries it is our own doing. 0 while it is not known. */
  ownPort(): number;
  /** `program` is the name of the process that changed something, as the kernel knows it. */
  onChange(program: string): void;
  /** Announcements were lost. */
  onOverrun(): void;
  /** The socket is of no use any more. */
  onBroken(error: Error): void;
}

/** Listens until the socket is closed. */
export function listenToGenerations(socket: EventNetlinkSocket, listener: GenerationListener): void {
  socket.onDatagram((datagram) => {
    // A generation comes in a datagram of its own, the first message of which tells.
    if (typeOf(datagram) !== NFT_MSG_NEWGEN.type) return;
    try {
      for (const message of splitDatagram(datagram)) tell(message, listener);
    } catch {
      listener.onChange("");
    }
  });
  socket.onError((error) => {
    if (isSystemError(error, "ENOBUFS")) listener.onOverrun();
    else listener.onBroken(error);
  });
  socket.addMembership(NFNLGRP_NFTABLES);
}

/** struct nlmsghdr: length (u32), then type (u16). */
function typeOf(datagram: Uint8Array): number {
  return (datagram[4] ?? 0) | ((datagram[5] ?? 0) << 8);
}

function tell(message: Message, listener: GenerationListener): void {
  if (message.type !== NFT_MSG_NEWGEN.type) return;
  const ownPort = listener.ownPort();
  if (ownPort !== 0 && message.portId === ownPort) return;
  listener.onChange(decode(NFT_MSG_NEWGEN, message).attributes.processName ?? "");
}
