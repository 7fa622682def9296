/** A netlink socket on an event loop that leads to a `FakeNftables`. */
import type { SystemError } from "../sys/errors.ts";
import type { EventNetlinkSocket } from "../sys/event-netlink.ts";
import type { FakeNftables } from "./fake-nftables.ts";

/** NFNLGRP_NFTABLES */
const GROUP = 7;

export class FakeNftablesSocket implements EventNetlinkSocket {
  readonly port: number;
  readonly #nftables: FakeNftables;
  readonly #ignored = new Set<number>();
  #onDatagram: (datagram: Uint8Array) => void = () => undefined;
  #leave: () => void = () => undefined;
  #isOpen = true;

  constructor(nftables: FakeNftables, port: number) {
    this.#nftables = nftables;
    this.port = port;
  }

  /** Answers come later, each in a datagram of its own, as the kernel's do. */
  send(datagram: Uint8Array): void {
    const answers = this.#nftables.answer(datagram.slice(), this.port);
    queueMicrotask(() => {
      for (const answer of answers) this.#deliver(answer);
    });
  }

  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.#onDatagram = listener;
  }

  /** Nothing is ever lost here. */
  onError(_listener: (error: SystemError) => void): void {}

  addMembership(group: number): void {
    if (group !== GROUP) throw new Error(`the fake nftables has no group ${group}`);
    this.#leave = this.#nftables.listen((datagram, port) => {
      if (!this.#ignored.has(port)) queueMicrotask(() => this.#deliver(datagram));
    });
  }

  setReceiveBufferBytes(): void {}

  ignore(port: number): void {
    this.#ignored.add(port);
  }

  close(): void {
    this.#isOpen = false;
    this.#leave();
    this.#nftables.release(this.port);
  }

  #deliver(datagram: Uint8Array): void {
    if (this.#isOpen) this.#onDatagram(datagram);
  }
}
