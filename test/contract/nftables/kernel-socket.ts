/** nfnetlink of another network namespace, through a process in it. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { EventNetlinkSocket } from "../../../pkg/sys/event-netlink.ts";
import { Frames, framed } from "./frames.ts";

const CHILD = fileURLToPath(new URL("./kernel-child.ts", import.meta.url));

class KernelSocket implements EventNetlinkSocket {
  readonly port: number;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  #onDatagram: (datagram: Uint8Array) => void;

  constructor(port: number, child: ChildProcessByStdio<Writable, Readable, null>) {
    this.port = port;
    this.#child = child;
    this.#onDatagram = () => undefined;
  }

  send(datagram: Uint8Array): void {
    this.#child.stdin.write(framed(datagram));
  }
  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.#onDatagram = listener;
  }
  accept(datagram: Uint8Array): void {
    this.#onDatagram(datagram);
  }
  /** The child reports an error on standard error and ends. */
  onError(): void {}
  addMembership(): void {
    throw new Error("groups can only be joined when the socket is opened");
  }
  setReceiveBufferBytes(): void {}
  ignore(): void {
    throw new Error("this socket cannot ignore a port");
  }
  close(): void {
    this.#child.stdin.end();
  }
}

/** Opens a socket in the named namespace and joins `groups`. */
export function openKernelSocket(namespace: string, groups: readonly number[] = []): Promise<EventNetlinkSocket> {
  const child = spawn("ip", ["netns", "exec", namespace, process.execPath, CHILD, ...groups.map(String)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let socket: KernelSocket | undefined;
    const frames = new Frames((datagram) => {
      if (socket !== undefined) return socket.accept(datagram);
      // The first frame has the port.
      socket = new KernelSocket(Number(new TextDecoder().decode(datagram)), child);
      resolve(socket);
    });
    child.stdout.on("data", (bytes: Uint8Array) => frames.take(bytes));
    child.on("error", reject);
    child.on("exit", (status) => reject(new Error(`ended with status ${status}`)));
  });
}
