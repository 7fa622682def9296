/**
 * Listens for the kernel's announcements of nftables changes. The kernel announces every rule and element, and a
 * cluster's Services are thousands of them. Only three facts are read: that another program has committed a
 * transaction, which base chains it added, and whether a message is about one of the watched tables.
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
  /** Base chains may have been added without an announcement. Also called at the start. */
  onUnknownChains(): void;
  /**
   * An object of this watched table has changed or may have changed. Called once per datagram that says so. The kernel
   * announces neither elements that rules add nor elements that time out.
   */
  onTable(table: TablePlace): void;
  /** A process has changed nftables. Includes commits of this process, unless the socket ignores its port. */
  onChange(): void;
  /** Announcements were lost. */
  onOverrun(): void;
  /** The socket is unusable. */
  onBroken(error: Error): void;
}

/** Listens until the socket is closed. `tables` are the tables to watch. */
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
  /** False if a length is invalid: the rest of the datagram may contain any message. */
  readonly isReadable: boolean;
  readonly touched: ReadonlySet<TablePlace>;
}

/**
 * struct nlmsghdr: length (u32), then type (u16). Thousands of messages arrive at once, so an object is made only for
 * the few that matter.
 */
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
