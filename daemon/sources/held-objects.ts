/** A set of objects that is replaced as a unit and read like a store: by key, with indexes and subscriptions. */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../pkg/cluster/clock.ts";
import { Indexer, type IndexKeys, type StoreEntry, type StoreIndex } from "../../pkg/cluster/indexer.ts";
import { LIST_WATCH_DEFAULTS } from "../../pkg/cluster/listwatch.ts";
import type { StoreListener, StorePhase, StoreStatus } from "../../pkg/cluster/store.ts";
import { Subscription } from "../../pkg/cluster/subscription.ts";
import type { ObjectSource } from "./service-source.ts";

export interface HeldObjectsOptions {
  readonly clock: Clock;
  /** A listener threw; it is called again after `retryMs`. Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
}

export class HeldObjects<T> implements ObjectSource<T> {
  readonly #options: HeldObjectsOptions;
  readonly #indexer: Indexer<T>;
  readonly #subscriptions = new Set<Subscription<T>>();
  #state: { readonly phase: StorePhase; readonly reason?: string; readonly retryMs?: number } = { phase: "listing" };
  #hasSynced = false;
  #heardMs: number;

  constructor(options: HeldObjectsOptions) {
    this.#options = options;
    this.#heardMs = options.clock.nowMs();
    this.#indexer = new Indexer<T>(isDeepStrictEqual, (change) => {
      for (const subscription of this.#subscriptions) subscription.note(change);
    });
  }

  /** Replaces the entire set by `objects`. Keys are "namespace/name" or a name alone. */
  replace(objects: ReadonlyMap<string, T>): void {
    this.#indexer.replace([...objects].map(([key, value]) => entryOf(key, value)));
    this.#heardMs = this.#options.clock.nowMs();
    const isNew = this.#state.phase !== "watching";
    this.#state = { phase: "watching" };
    this.#hasSynced = true;
    if (isNew) this.#wake();
  }

  /** The origin of the objects cannot be read. The objects stay as they were. */
  stale(reason: string, retryMs: number): void {
    this.#state = { phase: "stale", reason, retryMs };
    this.#wake();
  }

  /** Ends all subscriptions; no listener is called after this call. */
  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
    this.#subscriptions.clear();
  }

  get(key: string): StoreEntry<T> | undefined {
    return this.#indexer.get(key);
  }

  list(): readonly StoreEntry<T>[] {
    return this.#indexer.list();
  }

  get size(): number {
    return this.#indexer.size;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get status(): StoreStatus {
    const silentMs = this.#options.clock.nowMs() - this.#heardMs;
    return { ...this.#state, silentMs, hasSynced: this.#hasSynced };
  }

  addIndex(keysOf: IndexKeys<T>): StoreIndex<T> {
    return this.#indexer.addIndex(keysOf);
  }

  subscribe(listener: StoreListener<T>): () => void {
    const { clock, onFailure } = this.#options;
    const subscription = new Subscription<T>({
      ...{ clock, onFailure, coalesceMs: 0, backoff: LIST_WATCH_DEFAULTS.backoff },
      isSameEntry: (a, b) => this.#indexer.isSameEntry(a, b),
      deliver: (changes) => listener({ changes, status: this.status }),
    });
    this.#subscriptions.add(subscription);
    return () => {
      subscription.close();
      this.#subscriptions.delete(subscription);
    };
  }

  #wake(): void {
    for (const subscription of this.#subscriptions) subscription.wake();
  }
}

function entryOf<T>(key: string, value: T): StoreEntry<T> {
  const at = key.indexOf("/");
  return { key, namespace: key.slice(0, Math.max(at, 0)), name: key.slice(at + 1), uid: key, value };
}
