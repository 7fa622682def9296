import type { SystemError } from "./errors.ts";
import type { EventNetlinkSocket } from "./event-netlink.ts";

/** A netlink socket on an event loop whose kernel is a function: the datagrams that answer one that was sent. */
export class FakeEventNetlink implements EventNetlinkSocket {
  readonly port: number;
  readonly #answer: (datagram: Uint8Array) => readonly Uint8Array[];
  #onDatagram: (datagram: Uint8Array) => void = () => undefined;
  #isOpen = true;

  constructor(port: number, answer: (datagram: Uint8Array) => readonly Uint8Array[]) {
    this.port = port;
    this.#answer = answer;
  }

  /** Answers come later. */
  send(datagram: Uint8Array): void {
    this.deliver(...this.#answer(datagram.slice()));
  }

  /** Each of them comes by itself, in a later turn of the event loop. */
  deliver(...datagrams: readonly Uint8Array[]): void {
    queueMicrotask(() => {
      for (const datagram of datagrams) if (this.#isOpen) this.#onDatagram(datagram);
    });
  }

  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.#onDatagram = listener;
  }

  /** Nothing is ever lost here. */
  onError(_listener: (error: SystemError) => void): void {}
  addMembership(_group: number): void {
    throw new Error("nothing is announced here");
  }
  setReceiveBufferBytes(): void {}
  ignore(_port: number): void {
    throw new Error("nothing is announced here");
  }

  close(): void {
    this.#isOpen = false;
  }
}
