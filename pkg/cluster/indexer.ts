/** Objects by key, with indexes: the part of a store that has no clock and no network. */

/** One object as a store holds it. It is never changed in place. */
export interface StoreEntry<T> {
  /** "namespace/name", or the name alone where objects have no namespace; see `keyOf`. */
  readonly key: string;
  /** Empty where objects have none. */
  readonly namespace: string;
  readonly name: string;
  /** Differs when the object was deleted and another created under its name. */
  readonly uid: string;
  readonly value: T;
}

/** `before` is absent where the object is new, `after` where it is gone. Both with different uids: another object. */
export interface StoreChange<T> {
  readonly key: string;
  readonly before: StoreEntry<T> | undefined;
  readonly after: StoreEntry<T> | undefined;
}

/** Under which keys an index has an entry. Pure. */
export type IndexKeys<T> = (entry: StoreEntry<T>) => string | readonly string[] | undefined;

/** The entry itself where there is one: most keys have no more, and tens of thousands of maps are megabytes. */
type IndexGroup<T> = StoreEntry<T> | Map<string, StoreEntry<T>>;

export class StoreIndex<T> {
  readonly #keysOf: IndexKeys<T>;
  readonly #groups = new Map<string, IndexGroup<T>>();

  constructor(keysOf: IndexKeys<T>) {
    this.#keysOf = keysOf;
  }

  /** In constant time, but for the copy of what is found. */
  get(indexKey: string): readonly StoreEntry<T>[] {
    const group = this.#groups.get(indexKey);
    if (group === undefined) return [];
    return group instanceof Map ? [...group.values()] : [group];
  }

  /** How many keys have entries. */
  get size(): number {
    return this.#groups.size;
  }

  /** For the indexer. */
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

  /** `onChange` is called after each change, with the indexes up to date. An entry put with a value that `isSame` is none. */
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

  /** An index of what is held and of all that comes. */
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

  /** Makes `entries` the whole set; what is the same as before is no change. */
  replace(entries: readonly StoreEntry<T>[]): void {
    const kept = new Set(entries.map(({ key }) => key));
    for (const key of [...this.#entries.keys()]) if (!kept.has(key)) this.remove(key);
    for (const entry of entries) this.put(entry);
  }

  /** Both absent, or the same object with a value that means the same. */
  isSameEntry(a: StoreEntry<T> | undefined, b: StoreEntry<T> | undefined): boolean {
    if (a === undefined || b === undefined) return a === b;
    return a.uid === b.uid && this.#isSame(a.value, b.value);
  }

  #changed(change: StoreChange<T>): void {
    for (const index of this.#indexes) index.update(change);
    this.#onChange(change);
  }
}
