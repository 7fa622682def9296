/** This node's own addresses, read again after the kernel has announced a change of one. */
import { type Address, addressKey } from "../../../pkg/ip/address.ts";
import { contains, IPV4_LOOPBACK } from "../../../pkg/ip/prefix.ts";
import { addressDump, parseLinkAddress } from "../../../pkg/kernel/address.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../../pkg/netlink/address.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import type { Trigger } from "../../core/controller.ts";

const CHANGED: Trigger = { reason: "this node's addresses", isPatient: true };

export class LocalAddresses {
  readonly #netlink: Pick<EventedNetlink, "dump">;
  #known: readonly Address[] | undefined;

  constructor(netlink: Pick<EventedNetlink, "dump">) {
    this.#netlink = netlink;
  }

  /** A notification of rtnetlink's: undefined where it is about nothing that `read` reads. */
  heard({ type }: Message): Trigger | undefined {
    if (type !== RTM_NEWADDR.type && type !== RTM_DELADDR.type) return undefined;
    this.forget();
    return CHANGED;
  }

  /** Any of them may have changed. */
  forget(): void {
    this.#known = undefined;
  }

  /**
   * Each once, in no particular order; none that is tentative (the kernel announces when it is no longer), a duplicate, or
   * one of loopback.
   */
  async read(): Promise<readonly Address[]> {
    while (this.#known === undefined) {
      // A change that is announced during the dump is read by another one.
      this.#known = [];
      const dumped = this.#known;
      const messages = await this.#netlink.dump(addressDump()).catch((error) => {
        this.forget();
        throw error;
      });
      if (this.#known === dumped) this.#known = usable(messages);
    }
    return this.#known;
  }
}

function usable(messages: readonly Message[]): readonly Address[] {
  const addresses = messages.flatMap((message) => {
    const one = parseLinkAddress(message);
    if (one === undefined || one.isTentative || one.isDuplicate) return [];
    const { address } = one.prefix;
    return isLoopback(address) ? [] : [address];
  });
  return [...new Map(addresses.map((address) => [addressKey(address), address])).values()];
}

function isLoopback(address: Address): boolean {
  return contains(IPV4_LOOPBACK, address) || (address.family === 6 && address.value === 1n);
}
