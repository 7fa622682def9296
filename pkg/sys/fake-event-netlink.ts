import type { SystemError } from "./errors.ts";
import type { EventNetlinkSocket } from "./event-netlink.ts";

/** A netlink socket on an event loop; a function from a datagram to its answers replaces the kernel. */
export class FakeEventNetlink implements EventNetlinkSocket {
  readonly port: number;
  readonly #answer: (datagram: Uint8Array) => readonly Uint8Array[];
  #onDatagram: (datagram: Uint8Array) => void = () => undefined;
  #isOpen = true;

  constructor(port: number, answer: (datagram: Uint8Array) => readonly Uint8Array[]) {
    this.port = port;
    this.#answer = answer;
  }

  /** The answers arrive asynchronously. */
  send(datagram: Uint8Array): void {
    this.deliver(...this.#answer(datagram.slice()));
  }

  /** Delivers the datagrams one by one in a microtask. */
  deliver(...datagrams: readonly Uint8Array[]): void {
    queueMicrotask(() => {
      for (const datagram of datagrams) if (this.#isOpen) this.#onDatagram(datagram);
    });
  }

  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.#onDatagram = listener;
  }

  /** This socket never fails. */
  onError(_listener: (error: SystemError) => void): void {}
  addMembership(_group: number): void {
    throw new Error("this socket has no notifications");
  }
  setReceiveBufferBytes(): void {}
  ignore(_port: number): void {
    throw new Error("this socket has no notifications");
  }

  close(): void {
    this.#isOpen = false;
  }
}
