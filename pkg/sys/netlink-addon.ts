/**
 * The native part of the daemon, loaded from the build's output: its netlink sockets (addon/netlink.c), and the return
 * of memory to the kernel (addon/memory.c).
 */
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
  /**
   * Returns memory that V8 does not manage to the kernel: free blocks of malloc, and the pages of Node.js's code. The
   * kernel maps the latter again at their next use, from the page cache.
   */
  releaseMemory(): void;
}

declare const handleBrand: unique symbol;
export type NetlinkHandle = { readonly [handleBrand]: true };

/** The bundle replaces this module, because the addon is next to the bundle. */
export function loadNetlinkAddon(): NetlinkAddon {
  return createRequire(import.meta.url)("../../dist/lib/netlink.node") as NetlinkAddon;
}
