import type { SystemError } from "./errors.ts";

/** A netlink socket on an event loop, for the daemon. `node-netlink.ts` is the real implementation. */
export interface EventNetlinkSocket {
  /** The port that the kernel states in notifications about this socket's changes (nlmsg_pid). */
  readonly port: number;
  send(datagram: Uint8Array): void;
  /**
   * Sets the only listener. It receives complete datagrams, several of them concatenated, in a buffer that is not
   * reused.
   */
  onDatagram(listener: (datagram: Uint8Array) => void): void;
  /** Sets the only listener. ENOBUFS means that the kernel dropped messages because the receive buffer was full. */
  onError(listener: (error: SystemError) => void): void;
  /** Joins a multicast group (RTNLGRP_*, NFNLGRP_*). */
  addMembership(group: number): void;
  setReceiveBufferBytes(size: number): void;
  /** Stops notifications about changes by the socket with this port. */
  ignore(port: number): void;
  close(): void;
}
