/** Objects by key, with indexes: the part of a store without clock and network. */

/** One object in a store. It is never modified in place. */
export interface StoreEntry<T> {
  /** "namespace/name", or only the name for cluster-scoped objects; see `keyOf`. */
  readonly key: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  /** Changes if the object was deleted and another was created under its name. */
  readonly uid: string;
  readonly value: T;
}

/**
 * `before` is undefined for a new object, `after` for a removed one. If both are set with different uids, they are
 * different objects.
 */
export interface StoreChange<T> {
  readonly key: string;
  readonly before: StoreEntry<T> | undefined;
  readonly after: StoreEntry<T> | undefined;
}

/** Returns the index keys of an entry. Pure. */
export type IndexKeys<T> = (entry: StoreEntry<T>) => string | readonly string[] | undefined;

/**
 * A single entry is stored without a map: most keys have only one entry, and tens of thousands of maps take megabytes.
 */
type IndexGroup<T> = StoreEntry<T> | Map<string, StoreEntry<T>>;

export class StoreIndex<T> {
  readonly #keysOf: IndexKeys<T>;
  readonly #groups = new Map<string, IndexGroup<T>>();

  constructor(keysOf: IndexKeys<T>) {
    this.#keysOf = keysOf;
  }

  /** Runs in constant time, except for copying the result. */
  get(indexKey: string): readonly StoreEntry<T>[] {
    const group = this.#groups.get(indexKey);
    if (group === undefined) return [];
    return group instanceof Map ? [...group.values()] : [group];
  }

  /** The number of keys that have entries. */
  get size(): number {
    return this.#groups.size;
  }

  /** Called by the indexer. */
  update({ key, before, after }: StoreChange<T>): void {
    for (const indexKey of this.#keys(before)) this.#remove(indexKey, key);
    if (after === undefined) return;
    for (const indexKey of this.#keys(after)) this.#add(indexKey, after);
  }

  #remove(indexKey: string, key: string): void {
    const group = this.#groups.get(indexKey);
    if (group instanceof Map) group.delete(key);
    if (group instanceof Map ? group.size === 0 : group?.key === key) this.#groups.delete(indexKey);
  }

  #add(indexKey: string, entry: StoreEntry<T>): void {
    const group = this.#groups.get(indexKey);
    if (group instanceof Map) group.set(entry.key, entry);
    else if (group === undefined || group.key === entry.key) this.#groups.set(indexKey, entry);
    else this.#groups.set(indexKey, new Map([group, entry].map((one) => [one.key, one])));
  }

  #keys(entry: StoreEntry<T> | undefined): readonly string[] {
    const keys = entry === undefined ? undefined : this.#keysOf(entry);
    return keys === undefined ? [] : typeof keys === "string" ? [keys] : keys;
  }
}

export class Indexer<T> {
  readonly #isSame: (a: T, b: T) => boolean;
  readonly #onChange: (change: StoreChange<T>) => void;
  readonly #entries = new Map<string, StoreEntry<T>>();
  readonly #indexes: StoreIndex<T>[] = [];

  /**
   * `onChange` is called after each change, when the indexes are up to date. Putting an entry whose value `isSame` as
   * before is no change.
   */
  constructor(isSame: (a: T, b: T) => boolean, onChange: (change: StoreChange<T>) => void) {
    this.#isSame = isSame;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): StoreEntry<T> | undefined {
    return this.#entries.get(key);
  }

  list(): StoreEntry<T>[] {
    return [...this.#entries.values()];
  }

  /** Adds an index of all present and future entries. */
  addIndex(keysOf: IndexKeys<T>): StoreIndex<T> {
    const index = new StoreIndex(keysOf);
    for (const entry of this.#entries.values()) index.update({ key: entry.key, before: undefined, after: entry });
    this.#indexes.push(index);
    return index;
  }

  put(entry: StoreEntry<T>): void {
    const before = this.#entries.get(entry.key);
    if (this.isSameEntry(before, entry)) return;
    this.#entries.set(entry.key, entry);
    this.#changed({ key: entry.key, before, after: entry });
  }

  remove(key: string): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#entries.delete(key);
    this.#changed({ key, before, after: undefined });
  }

  /** Replaces the complete set by `entries`. Entries that are equal to the earlier ones are no changes. */
  replace(entries: readonly StoreEntry<T>[]): void {
    const kept = new Set(entries.map(({ key }) => key));
    for (const key of [...this.#entries.keys()]) if (!kept.has(key)) this.remove(key);
    for (const entry of entries) this.put(entry);
  }

  /** True if both are undefined, or if both are the same object with equal values. */
  isSameEntry(a: StoreEntry<T> | undefined, b: StoreEntry<T> | undefined): boolean {
    if (a === undefined || b === undefined) return a === b;
    return a.uid === b.uid && this.#isSame(a.value, b.value);
  }

  #changed(change: StoreChange<T>): void {
    for (const index of this.#indexes) index.update(change);
    this.#onChange(change);
  }
}
