/** Which flows must be judged again. */
import { type Address, addressKey } from "../../../pkg/ip/address.ts";
import type { PolicyChange } from "../../../pkg/policy/state.ts";

/** With more changed addresses, one dump of all flows costs less than a walk of the kernel's table for each. */
const MAX_ADDRESSES = 1000;

export interface DueWork {
  /** Judge the flows of these addresses, whenever they began; "all": of all addresses. */
  readonly addresses: readonly Address[] | "all";
  /** Judge all flows that began at or after this time, in milliseconds of the clock. */
  readonly windowMs: number | undefined;
}

export class DueFlows {
  #all = false;
  readonly #addresses = new Map<string, Address>();
  #windowMs: number | undefined;

  get isEmpty(): boolean {
    return !this.#all && this.#addresses.size === 0 && this.#windowMs === undefined;
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

  addWindow(fromMs: number): void {
    this.#windowMs = Math.min(this.#windowMs ?? fromMs, fromMs);
  }

  /** Returns the work, which is no longer due. */
  take(): DueWork {
    const work: DueWork = {
      addresses: this.#all ? "all" : [...this.#addresses.values()],
      windowMs: this.#windowMs,
    };
    this.#all = false;
    this.#addresses.clear();
    this.#windowMs = undefined;
    return work;
  }

  /** Adds work that failed. */
  restore({ addresses, windowMs }: DueWork): void {
    if (addresses === "all") this.addAll();
    else if (!this.#all) for (const address of addresses) this.#addresses.set(addressKey(address), address);
    if (windowMs !== undefined) this.addWindow(windowMs);
  }
}
