/**
 * Which of several pods an address stands for. A new pod may get the address of one that ended before weftd sees the end: the
 * end of the old pod must then leave the new pod's entries.
 */
import { type Address, addressKey } from "../ip/address.ts";

export class AddressOwners<T> {
  /** By address; of each owner the value, the latest last. */
  readonly #owners = new Map<string, Map<string, T>>();

  /** Sets the value of an owner; undefined removes it. Returns the value of the latest owner that is left. */
  set(address: Address, owner: string, value: T | undefined): T | undefined {
    const key = addressKey(address);
    const owners = this.#owners.get(key) ?? new Map<string, T>();
    owners.delete(owner);
    if (value !== undefined) owners.set(owner, value);
    if (owners.size === 0) this.#owners.delete(key);
    else this.#owners.set(key, owners);
    return [...owners.values()].at(-1);
  }
}
