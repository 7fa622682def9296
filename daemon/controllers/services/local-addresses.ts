/** This node's own addresses, read again after the kernel has announced a change. */
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

  /** Handles an rtnetlink notification. Returns undefined if it is not about an address. */
  heard({ type }: Message): Trigger | undefined {
    if (type !== RTM_NEWADDR.type && type !== RTM_DELADDR.type) return undefined;
    this.forget();
    return CHANGED;
  }

  /** Forgets the known addresses, because any of them may have changed. */
  forget(): void {
    this.#known = undefined;
  }

  /**
   * Returns each address once, in no particular order. Omits tentative ones (the kernel announces when they become
   * usable), duplicates and loopback addresses.
   */
  async read(): Promise<readonly Address[]> {
    while (this.#known === undefined) {
      // If a change is announced during the dump, the loop dumps again.
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
