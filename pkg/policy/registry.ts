/**
 * Numbers for values that several users share. The number of a value is a hash of its key, so another process computes
 * the same number, except for values whose hashes collide.
 */
import { jhash } from "../nft/jhash.ts";

export interface RegistryEntry<T> {
  readonly key: string;
  readonly number: number;
  readonly value: T;
  /** The number of users. */
  uses: number;
}

export class Registry<T> {
  readonly #entries = new Map<string, RegistryEntry<T>>();
  readonly #numbers = new Set<number>();
  readonly #added = new Set<RegistryEntry<T>>();
  readonly #unused = new Set<RegistryEntry<T>>();

  get size(): number {
    return this.#entries.size;
  }

  entries(): Iterable<RegistryEntry<T>> {
    return this.#entries.values();
  }

  /** Adds a user. Calls `make` if the key is new. */
  acquire(key: string, make: (number: number) => T): RegistryEntry<T> {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.uses++;
      return known;
    }
    const number = this.#freeNumber(key);
    const entry = { key, number, value: make(number), uses: 1 };
    this.#entries.set(key, entry);
    this.#numbers.add(number);
    this.#added.add(entry);
    return entry;
  }

  /** Removes a user. The entry remains until the next call of `sweep`. */
  release(entry: RegistryEntry<T>): void {
    if (--entry.uses === 0) this.#unused.add(entry);
  }

  /** Returns the entries that were added since the last call. */
  takeAdded(): RegistryEntry<T>[] {
    const added = [...this.#added];
    this.#added.clear();
    return added;
  }

  /** Removes and returns the entries without users. */
  sweep(): RegistryEntry<T>[] {
    const unused = [...this.#unused].filter(({ uses }) => uses === 0);
    this.#unused.clear();
    for (const { key, number } of unused) {
      this.#entries.delete(key);
      this.#numbers.delete(number);
    }
    return unused;
  }

  #freeNumber(key: string): number {
    let number = hashNumber(key);
    while (this.#numbers.has(number)) number = (number % MAX_NUMBER) + 1;
    return number;
  }
}

const MAX_NUMBER = 0x7fff_ffff;
/** Arbitrary, but a change renumbers all tables. */
const SEED = 0x7765_6674;

/** Returns a number from 1 to 2^31 - 1. */
function hashNumber(key: string): number {
  const bytes = new TextEncoder().encode(key);
  return jhash((at) => bytes[at] ?? 0, bytes.length, SEED) & MAX_NUMBER || 1;
}
