import { FakeEventNetlink } from "../sys/fake-event-netlink.ts";
import type { FakeNftables } from "./fake-nftables.ts";

/** NFNLGRP_NFTABLES */
const GROUP = 7;

/** An event-loop netlink socket to a `FakeNftables`. */
export class FakeNftablesSocket extends FakeEventNetlink {
  readonly #nftables: FakeNftables;
  readonly #ignored = new Set<number>();
  #leave: () => void = () => undefined;

  constructor(nftables: FakeNftables, port: number) {
    super(port, (datagram) => nftables.answer(datagram, port));
    this.#nftables = nftables;
  }

  override addMembership(group: number): void {
    if (group !== GROUP) throw new Error(`the fake nftables has no group ${group}`);
    this.#leave = this.#nftables.listen((datagram, port) => {
      if (!this.#ignored.has(port)) this.deliver(datagram);
    });
  }

  override ignore(port: number): void {
    this.#ignored.add(port);
  }

  override close(): void {
    super.close();
    this.#leave();
    this.#nftables.release(this.port);
  }
}
