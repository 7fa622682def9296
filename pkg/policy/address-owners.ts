/**
 * Decides which of several pods an address belongs to. The API server may report a pod with the address of an older
 * pod before it reports the end of the older pod.
 */
import { type Address, addressKey } from "../ip/address.ts";

export class AddressOwners {
  /** Keys of pods, by address. A list if several pods claim the address: the last one owns it. */
  readonly #claims = new Map<string, string | readonly string[]>();
  readonly #startOf: (pod: string) => number;

  /** `startOf` returns the time when a pod started. */
  constructor(startOf: (pod: string) => number) {
    this.#startOf = startOf;
  }

  /**
   * Adds a claim of a pod. It becomes the owner unless a pod that started later has claimed the address, so the order in
   * which the API server lists pods does not matter. A claim that exists keeps its place.
   */
  claim(address: Address, pod: string): void {
    const claims = this.#claimsOf(addressKey(address));
    if (claims.includes(pod)) return;
    const start = this.#startOf(pod);
    const at = claims.findLastIndex((other) => this.#startOf(other) <= start) + 1;
    this.#put(address, claims.toSpliced(at, 0, pod));
  }

  /** Adds a claim that replaces all others as owner. */
  takeOver(address: Address, pod: string): void {
    this.release(address, pod);
    this.#put(address, [...this.#claimsOf(addressKey(address)), pod]);
  }

  release(address: Address, pod: string): void {
    const claims = this.#claimsOf(addressKey(address));
    this.#put(
      address,
      claims.filter((one) => one !== pod),
    );
  }

  /** Returns the key of the pod that owns the address. `address` is an `addressKey`. */
  ownerOf(address: string): string | undefined {
    return this.#claimsOf(address).at(-1);
  }

  #claimsOf(address: string): readonly string[] {
    const claims = this.#claims.get(address) ?? [];
    return typeof claims === "string" ? [claims] : claims;
  }

  #put(address: Address, claims: readonly string[]): void {
    const key = addressKey(address);
    const [first] = claims;
    if (first === undefined) this.#claims.delete(key);
    else this.#claims.set(key, claims.length === 1 ? first : claims);
  }
}
