/** Numbers for things that several users share, for as long as one of them uses it. */

export interface Entry<T> {
  readonly key: string;
  readonly number: number;
  readonly value: T;
  /** How many use it. */
  uses: number;
}

export class Registry<T> {
  readonly #entries = new Map<string, Entry<T>>();
  #last = 0;
  readonly #added = new Set<Entry<T>>();

  /** Counts one more use. `make` is called if the key is new. */
  acquire(key: string, make: (number: number) => T): Entry<T> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const number = ++this.#last;
      entry = { key, number, value: make(number), uses: 0 };
      this.#entries.set(key, entry);
      this.#added.add(entry);
    }
    entry.uses++;
    return entry;
  }

  get(key: string): Entry<T> | undefined {
    return this.#entries.get(key);
  }

  entries(): Iterable<Entry<T>> {
    return this.#entries.values();
  }

  /** Entries that were added since the last call and are still in use. */
  takeAdded(): Entry<T>[] {
    const added = [...this.#added];
    this.#added.clear();
    return added;
  }

  /** Removes and returns the unused entries. A later entry of the same key gets another number. */
  sweep(): Entry<T>[] {
    const unused = [...this.#entries.values()].filter(({ uses }) => uses === 0);
    for (const entry of unused) {
      this.#entries.delete(entry.key);
      this.#added.delete(entry);
    }
    return unused;
  }
}
