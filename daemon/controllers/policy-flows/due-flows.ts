/** Collects the addresses whose flows must be judged again. */
import { type Address, addressKey } from "../../../pkg/ip/address.ts";
import type { PolicyChange } from "../../../pkg/policy/state.ts";

/** With more changed addresses, one dump of all flows costs less than a walk of the kernel's table for each. */
const MAX_ADDRESSES = 1000;

/** Addresses of which all flows must be judged, whenever they began; "all": all addresses. */
export type DueAddresses = readonly Address[] | "all";

export class DueFlows {
  #all = false;
  readonly #addresses = new Map<string, Address>();

  get isEmpty(): boolean {
    return !this.#all && this.#addresses.size === 0;
  }

  /**
   * The policies' decisions differ at most for flows from or to a changed subject or peer. All other changed objects
   * are named by a hash of their contents: with another decision, a subject has another profile, and a peer in other
   * groups has another identity.
   */
  addChanges(changes: readonly PolicyChange[]): void {
    for (const change of changes) {
      if (this.#all || (change.kind !== "subject" && change.kind !== "peer")) continue;
      this.#addresses.set(addressKey(change.address), change.address);
      if (this.#addresses.size > MAX_ADDRESSES) this.addAll();
    }
  }

  addAll(): void {
    this.#all = true;
    this.#addresses.clear();
  }

  /** Returns the addresses, which are no longer due. */
  take(): DueAddresses {
    const addresses = this.#all ? "all" : [...this.#addresses.values()];
    this.#all = false;
    this.#addresses.clear();
    return addresses;
  }

  /** Adds addresses for which a pass failed. */
  restore(addresses: DueAddresses): void {
    if (addresses === "all") this.addAll();
    else if (!this.#all) for (const address of addresses) this.#addresses.set(addressKey(address), address);
  }
}
