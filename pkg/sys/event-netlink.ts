import type { SystemError } from "./errors.ts";

/** A netlink socket on an event loop: the daemon's. `node-netlink.ts` is the real one. */
export interface EventNetlinkSocket {
  /** The port that the kernel names when it tells of what this socket changed (nlmsg_pid). */
  readonly port: number;
  send(datagram: Uint8Array): void;
  /** One listener; it gets datagrams whole, several at once behind each other. The bytes are its own. */
  onDatagram(listener: (datagram: Uint8Array) => void): void;
  /** One listener. ENOBUFS says that the kernel dropped messages because the receive buffer was full. */
  onError(listener: (error: SystemError) => void): void;
  /** Joins a multicast group (RTNLGRP_*, NFNLGRP_*). */
  addMembership(group: number): void;
  setReceiveBufferBytes(size: number): void;
  /** Messages about what the socket of that port changed do not come from now on. */
  ignore(port: number): void;
  close(): void;
}
