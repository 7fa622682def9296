import type { SystemError } from "./errors.ts";

/** A netlink socket on an event loop: the daemon's. `node-netlink.ts` is the real one. */
export interface EventNetlinkSocket {
  send(datagram: Uint8Array): void;
  /** One listener; it gets each datagram whole. The bytes are its own. */
  onDatagram(listener: (datagram: Uint8Array) => void): void;
  /** One listener. ENOBUFS says that the kernel dropped messages because the receive buffer was full. */
  onError(listener: (error: SystemError) => void): void;
  /** Joins a multicast group (RTNLGRP_*, NFNLGRP_*). */
  addMembership(group: number): void;
  setReceiveBufferBytes(size: number): void;
  close(): void;
}
