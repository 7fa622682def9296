/**
 * The daemon's netlink socket, on the npm package `netlink`, of which only the raw socket is used: its message layers
 * would be a second codec.
 */
import { RawNetlinkSocket } from "netlink/dist/raw.js";
import { SystemError } from "./errors.ts";
import type { EventNetlinkSocket } from "./event-netlink.ts";

/** Room for notifications while the event loop is busy; beyond it the kernel drops them and says ENOBUFS. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

/** Opens a socket that speaks to the process's own network namespace. */
export function openEventNetlink(protocol: number): EventNetlinkSocket {
  const socket = new RawNetlinkSocket(protocol, {
    recvBufferSize: RECEIVE_BUFFER_BYTES,
    sendBufferSize: RECEIVE_BUFFER_BYTES,
  });
  return {
    send: (datagram) => socket.send(datagram),
    onDatagram: (listener) => {
      socket.on("message", (message) => listener(new Uint8Array(message)));
    },
    onError: (listener) => {
      socket.on("error", ({ syscall, errno }) => listener(new SystemError(syscall, "netlink", Math.abs(errno))));
    },
    addMembership: (group) => socket.addMembership(group),
    setReceiveBufferBytes: (size) => socket.setRecvBufferSize(size),
    close: () => socket.close(),
  };
}
