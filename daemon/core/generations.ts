/**
 * The kernel's word that nftables changed. Of what it tells about each rule and element (a cluster's services are
 * thousands of them) nothing is read but that another program has committed a transaction, which base chains it added, and
 * whether the message is about one of the tables that are followed.
 */
import { viewOf } from "../../pkg/netlink/bytes.ts";
import type { Message } from "../../pkg/netlink/message.ts";
import { NFT_MSG_NEWCHAIN, NFT_MSG_NEWGEN } from "../../pkg/netlink/nftables.ts";
import { isBaseChain, type NftChain, readChains, type TablePlace } from "../../pkg/nft/ruleset.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";
import { TablePattern } from "./table-pattern.ts";

/** NFNLGRP_NFTABLES (include/uapi/linux/netfilter/nfnetlink.h) */
const NFNLGRP_NFTABLES = 7;
const HEADER = 16;

export interface GenerationListener {
  /** Base chains were added or changed. Called before `onChange` of the same transaction. */
  onBaseChains(chains: readonly NftChain[]): void;
  /** Base chains may have been added unheard: called at the start, too. */
  onUnknownChains(): void;
  /**
   * Something in this table, one of those that are followed, has changed, or may have: called for each datagram that says
   * so. The kernel tells neither of elements that rules add nor of those whose time is over.
   */
  onTable(table: TablePlace): void;
  /** Somebody has changed something. What this process commits is told, too, unless the socket ignores its port. */
  onChange(): void;
  /** Announcements were lost. */
  onOverrun(): void;
  /** The socket is of no use any more. */
  onBroken(error: Error): void;
}

/** Listens until the socket is closed. `tables` are those to follow. */
export function listenToGenerations(
  socket: EventNetlinkSocket,
  listener: GenerationListener,
  tables: readonly TablePlace[] = [],
): void {
  const patterns = tables.map((table) => new TablePattern(table));
  socket.onDatagram((datagram) => {
    const { bases, isCommitted, isReadable, touched } = read(datagram, patterns);
    if (bases.length > 0) listener.onBaseChains(readChains(bases));
    if (!isReadable) listener.onUnknownChains();
    for (const table of isReadable ? touched : tables) listener.onTable(table);
    if (isCommitted || !isReadable) listener.onChange();
  });
  socket.onError((error) => {
    if (isSystemError(error, "ENOBUFS")) {
      listener.onUnknownChains();
      for (const table of tables) listener.onTable(table);
      listener.onOverrun();
    } else {
      listener.onBroken(error);
    }
  });
  socket.addMembership(NFNLGRP_NFTABLES);
  listener.onUnknownChains();
}

interface Announced {
  readonly bases: readonly Message[];
  readonly isCommitted: boolean;
  /** False where a length makes no sense: anything may hide behind it. */
  readonly isReadable: boolean;
  readonly touched: ReadonlySet<TablePlace>;
}

/** struct nlmsghdr: length (u32), then type (u16). Thousands of messages come at once: an object is made of few. */
function read(datagram: Uint8Array, patterns: readonly TablePattern[]): Announced {
  const view = viewOf(datagram);
  const bases: Message[] = [];
  const touched = new Set<TablePlace>();
  let isCommitted = false;
  for (let at = 0; at + HEADER <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > datagram.length) return { bases, isCommitted, touched, isReadable: false };
    const type = view.getUint16(at + 4, true);
    if (type === NFT_MSG_NEWGEN.type) isCommitted = true;
    for (const pattern of patterns) if (pattern.matches(datagram, at + HEADER, at + length)) touched.add(pattern.table);
    if (type === NFT_MSG_NEWCHAIN.type) {
      const payload = datagram.subarray(at + HEADER, at + length);
      const message: Message = { type, flags: 0, sequence: 0, portId: 0, payload };
      if (isBaseChain(message)) bases.push(message);
    }
    at += (length + 3) & ~3;
  }
  return { bases, isCommitted, touched, isReadable: true };
}
