/** The native part of the daemon's netlink sockets (addon/netlink.c), loaded from the build's output. */
import { createRequire } from "node:module";

export interface NetlinkAddon {
  /** Throws an `Error` whose message is the name of the system call, with `errno`. */
  open(
    protocol: number,
    receiveBufferBytes: number,
    /** Receives many messages at once, in a buffer that is not reused. */
    onMessages: (messages: Uint8Array) => void,
    onError: (call: string, errno: number) => void,
    /** Makes the system calls in the thread pool. `send` returns EBUSY while one is running. */
    isSlow: boolean,
  ): { readonly handle: NetlinkHandle; readonly port: number };
  /** This function and the next three return an errno, or 0 for success. */
  send(handle: NetlinkHandle, bytes: Uint8Array): number;
  addMembership(handle: NetlinkHandle, group: number): number;
  setReceiveBufferBytes(handle: NetlinkHandle, size: number): number;
  ignorePort(handle: NetlinkHandle, port: number): number;
  /** Call it once; the handle is invalid afterwards. */
  close(handle: NetlinkHandle): void;
}

declare const handleBrand: unique symbol;
export type NetlinkHandle = { readonly [handleBrand]: true };

/** The bundle replaces this module, because the addon is next to the bundle. */
export function loadNetlinkAddon(): NetlinkAddon {
  return createRequire(import.meta.url)("../../dist/lib/netlink.node") as NetlinkAddon;
}
