/** The native part of the daemon's netlink sockets (addon/netlink.c), from where the build puts it. */
import { createRequire } from "node:module";

export interface NetlinkAddon {
  /** Throws an `Error` whose message is the system call's name, with `errno`. */
  open(
    protocol: number,
    receiveBufferBytes: number,
    /** Many messages at once, in bytes of their own. */
    onMessages: (messages: Uint8Array) => void,
    onError: (call: string, errno: number) => void,
    /** The system calls are made in the thread pool. `send` answers EBUSY while one is under way. */
    isSlow: boolean,
  ): { readonly handle: NetlinkHandle; readonly port: number };
  /** This and the next three return an errno, 0 for success. */
  send(handle: NetlinkHandle, bytes: Uint8Array): number;
  addMembership(handle: NetlinkHandle, group: number): number;
  setReceiveBufferBytes(handle: NetlinkHandle, size: number): number;
  ignorePort(handle: NetlinkHandle, port: number): number;
  /** Once; the handle is of no use after it. */
  close(handle: NetlinkHandle): void;
}

declare const handleBrand: unique symbol;
export type NetlinkHandle = { readonly [handleBrand]: true };

/** In the bundle another module stands here: the addon lies beside it. */
export function loadNetlinkAddon(): NetlinkAddon {
  return createRequire(import.meta.url)("../../dist/lib/netlink.node") as NetlinkAddon;
}
