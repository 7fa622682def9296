/**
 * The daemon's netlink socket, on weft's own addon: no package on npm continues after the kernel has dropped messages
 * (ENOBUFS).
 */
import { SystemError } from "./errors.ts";
import type { EventNetlinkSocket } from "./event-netlink.ts";
import { loadNetlinkAddon } from "./netlink-addon.ts";

/**
 * The buffer for notifications while the event loop is busy; when it is full, the kernel drops messages and reports
 * ENOBUFS. The kernel uses memory only for waiting messages; one about a route has about a kilobyte.
 */
const RECEIVE_BUFFER_BYTES = 16 << 20;

/**
 * Opens a socket in the process's own network namespace. With `isSlow` the event loop is not blocked while the kernel
 * computes an answer for many milliseconds; each datagram must then be answered before the next one is sent. Throws
 * `SystemError`.
 */
export function openEventNetlink(protocol: number, { isSlow = false } = {}): EventNetlinkSocket {
  const addon = loadNetlinkAddon();
  let onDatagram: (datagram: Uint8Array) => void = () => undefined;
  let onError: (error: SystemError) => void = () => undefined;
  const { handle, port } = opened(() =>
    addon.open(
      protocol,
      RECEIVE_BUFFER_BYTES,
      (messages) => onDatagram(messages),
      (call, errno) => onError(new SystemError(call, "netlink", errno)),
      isSlow,
    ),
  );
  let isClosed = false;
  const check = (call: string, errno: number) => {
    if (errno !== 0) throw new SystemError(call, "netlink", errno);
  };
  return {
    port,
    send: (datagram) => {
      if (isClosed) return;
      const errno = addon.send(handle, datagram);
      // Report it like other failures of the socket, so that the caller that waits for the answer receives it.
      if (errno !== 0) queueMicrotask(() => onError(new SystemError("send", "netlink", errno)));
    },
    onDatagram: (listener) => {
      onDatagram = listener;
    },
    onError: (listener) => {
      onError = listener;
    },
    addMembership: (group) => check("setsockopt", addon.addMembership(handle, group)),
    setReceiveBufferBytes: (size) => check("setsockopt", addon.setReceiveBufferBytes(handle, size)),
    ignore: (other) => check("setsockopt", addon.ignorePort(handle, other)),
    close: () => {
      if (!isClosed) addon.close(handle);
      isClosed = true;
    },
  };
}

function opened<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    const { message, errno } = error as Error & { errno?: number };
    if (errno === undefined) throw error;
    throw new SystemError(message, "netlink", errno);
  }
}
