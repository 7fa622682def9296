/**
 * The kernel's word that nftables changed. Of what it tells about each rule and element (a cluster's services are
 * thousands of them) nothing is read but that somebody else has committed a transaction.
 */
import { viewOf } from "../../pkg/netlink/bytes.ts";
import { NFT_MSG_NEWGEN } from "../../pkg/netlink/nftables.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";

/** NFNLGRP_NFTABLES (include/uapi/linux/netfilter/nfnetlink.h) */
const NFNLGRP_NFTABLES = 7;
const HEADER = 16;

export interface GenerationListener {
  /** Somebody has changed something. What this process commits is told, too, unless the socket ignores its port. */
  onChange(): void;
  /** Announcements were lost. */
  onOverrun(): void;
  /** The socket is of no use any more. */
  onBroken(error: Error): void;
}

/** Listens until the socket is closed. */
export function listenToGenerations(socket: EventNetlinkSocket, listener: GenerationListener): void {
  socket.onDatagram((datagram) => {
    if (hasMessage(datagram, NFT_MSG_NEWGEN.type)) listener.onChange();
  });
  socket.onError((error) => {
    if (isSystemError(error, "ENOBUFS")) listener.onOverrun();
    else listener.onBroken(error);
  });
  socket.addMembership(NFNLGRP_NFTABLES);
}

/** struct nlmsghdr: length (u32), then type (u16). A length that makes no sense may hide anything. */
function hasMessage(datagram: Uint8Array, type: number): boolean {
  const view = viewOf(datagram);
  for (let at = 0; at + HEADER <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER || view.getUint16(at + 4, true) === type) return true;
    at += (length + 3) & ~3;
  }
  return false;
}
