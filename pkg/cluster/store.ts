/**
 * A current copy of the cluster's objects of one kind: a parser's value for each object, by key and by indexes, with
 * subscriptions to changes.
 *
 * While the API server cannot be reached, the objects stay unchanged; the next list changes only what differs. If the
 * server does not know the resource (a CRD that is not installed), there are no such objects, and the store counts as
 * synced.
 */
import { SYSTEM_CLOCK } from "./clock.ts";
import type { Connection } from "./connection.ts";
import type { Advice } from "./errors.ts";
import { Indexer, type IndexKeys, type StoreChange, type StoreEntry, type StoreIndex } from "./indexer.ts";
import {
  LIST_WATCH_DEFAULTS,
  type ListerWatcher,
  ListWatch,
  type ListWatchOptions,
  type ObjectEvent,
} from "./listwatch.ts";
import { equalityOf, type ResourceParser } from "./parser.ts";
import { type KubeObject, keyOf, type Selection } from "./resource.ts";
import { ResourceClient } from "./resource-client.ts";
import { Subscription } from "./subscription.ts";

export interface StoreOptions extends ListWatchOptions {
  /** The selection of objects. Default: all. */
  readonly selection: Selection;
  /** Advice for the operator if the server refuses a request. Default: names the rights on the resource. */
  readonly advice: Advice;
  /** The time that a change waits for others before listeners are called. Default 0: one turn of the event loop. */
  readonly coalesceMs: number;
  /** Called if a request failed or a listener threw. The store retries after `retryMs`. Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
  /** Called if the parser threw, which is a bug in the parser. The object keeps its last value. Must not throw. */
  readonly onUnreadable: (key: string, error: unknown) => void;
}

/**
 * - `listing`: the first list has not finished.
 * - `watching`: the objects are current, and changes arrive as they happen.
 * - `stale`: the server cannot be reached or refuses; objects may have changed since.
 * - `absent`: the server does not know the resource; the store retries at intervals.
 */
export type StorePhase = "listing" | "watching" | "stale" | "absent";

export interface StoreStatus {
  readonly phase: StorePhase;
  /** For `stale` and `absent`: what failed and what an operator can do. */
  readonly reason?: string;
  /** For `stale` and `absent`: the delay from this state to the next attempt. */
  readonly retryMs?: number;
  /** The time since the server last answered or sent an event, or since the store was created. */
  readonly silentMs: number;
  /** See `Store.hasSynced`. */
  readonly hasSynced: boolean;
}

export interface StoreNotice<T> {
  /** The differences from the state that this listener last received. Empty if only the status has changed. */
  readonly changes: readonly StoreChange<T>[];
  readonly status: StoreStatus;
}

/**
 * If a listener throws, it is called again after a delay with the same changes and those that happened meanwhile. This
 * includes objects that have returned to their earlier state, because the listener may have processed the state in
 * between.
 */
export type StoreListener<T> = (notice: StoreNotice<T>) => void;

/** The longest delay before an absent resource is requested again. CRDs are rarely installed. */
export const ABSENT_RETRY_MS = 5 * 60_000;

type StoreState = Omit<StoreStatus, "silentMs" | "hasSynced">;

/** An entry, or only the key of an object for which no value is kept. */
type ParsedObject<T> = StoreEntry<T | undefined>;

export class Store<T> {
  readonly #parser: ResourceParser<T>;
  readonly #options: StoreOptions;
  readonly #indexer: Indexer<T>;
  readonly #loop: ListWatch<ParsedObject<T>, KubeObject>;
  readonly #subscriptions = new Set<Subscription<T>>();
  readonly #stopping = new AbortController();
  #state: StoreState = { phase: "listing" };
  #hasSynced = false;
  #running: Promise<void> = Promise.resolve();

  /** Several stores can share the connections of one `connection`. Sends no request before `start`. */
  constructor(connection: Connection, parser: ResourceParser<T>, options: Partial<StoreOptions> = {}) {
    const { resource, form = "whole" } = parser;
    const client = new ResourceClient(connection, resource, options.advice);
    this.#parser = parser;
    this.#options = {
      clock: SYSTEM_CLOCK,
      selection: {},
      advice: {},
      coalesceMs: 0,
      onFailure: () => undefined,
      onUnreadable: () => undefined,
      // The core group is part of every server, so a 404 is a failure.
      absentRetryMs: resource.group === "" ? undefined : ABSENT_RETRY_MS,
      ...LIST_WATCH_DEFAULTS,
      ...options,
    };
    const { selection } = this.#options;
    this.#indexer = new Indexer(equalityOf(parser), (change) => {
      for (const subscription of this.#subscriptions) subscription.note(change);
    });
    const api: ListerWatcher<ParsedObject<T>, KubeObject> = {
      subject: resource.plural,
      listPage: (limit, next, signal) =>
        client.listPage({ ...selection, form, limit, next }, (object) => this.#parse(object), signal),
      watch: (request, handlers, signal) => client.watch({ ...selection, ...request, form }, handlers, signal),
    };
    this.#loop = new ListWatch(api, this.#options, {
      onList: (objects) => this.#listed(objects),
      onChange: (event) => this.#changed(event),
      onWatching: () => this.#enter({ phase: "watching" }),
      onFailure: (error, retryMs) => {
        this.#options.onFailure(error, retryMs);
        this.#enter({ phase: "stale", reason: reasonOf(error), retryMs });
      },
      onAbsent: (error, retryMs) => this.#absent(error, retryMs),
    });
  }

  /** Starts the first list. Called once. */
  start(): void {
    this.#running = this.#loop.run(this.#stopping.signal);
  }

  /** After it has resolved, nothing changes and no listener is called. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    for (const subscription of this.#subscriptions) subscription.close();
    this.#subscriptions.clear();
  }

  /** Returns the entry by "namespace/name", or by the name for cluster-scoped objects; see `keyOf`. */
  get(key: string): StoreEntry<T> | undefined {
    return this.#indexer.get(key);
  }

  /** Returns the entries in no particular order. */
  list(): readonly StoreEntry<T>[] {
    return this.#indexer.list();
  }

  get size(): number {
    return this.#indexer.size;
  }

  /** True if the store has had the complete set once, or if the server has no such resource. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get status(): StoreStatus {
    return { ...this.#state, silentMs: this.#loop.silentMs, hasSynced: this.#hasSynced };
  }

  /**
   * Adds an index by keys that the caller computes, such as the Service of an EndpointSlice. It is kept current by the
   * store.
   */
  addIndex(keysOf: IndexKeys<T>): StoreIndex<T> {
    return this.#indexer.addIndex(keysOf);
  }

  /**
   * Calls `listener` after later changes of objects or of the status; `list` returns the present ones. Returns the
   * function that ends the subscription.
   */
  subscribe(listener: StoreListener<T>): () => void {
    const { clock, coalesceMs, backoff, onFailure } = this.#options;
    const subscription = new Subscription<T>({
      clock,
      coalesceMs,
      backoff,
      isSameEntry: (a, b) => this.#indexer.isSameEntry(a, b),
      deliver: (changes) => listener({ changes, status: this.status }),
      onFailure,
    });
    this.#subscriptions.add(subscription);
    return () => {
      subscription.close();
      this.#subscriptions.delete(subscription);
    };
  }

  #listed(objects: readonly ParsedObject<T>[]): void {
    this.#indexer.replace(objects.filter(isEntry));
    if (this.#hasSynced) return;
    this.#hasSynced = true;
    this.#wake();
  }

  #changed({ type, object }: ObjectEvent<KubeObject>): void {
    const parsed = type === "DELETED" ? undefined : this.#parse(object);
    if (parsed !== undefined && isEntry(parsed)) this.#indexer.put(parsed);
    else this.#indexer.remove(keyOf(object.metadata.namespace, object.metadata.name));
  }

  /** Reports only the first answer of this kind. */
  #absent(error: unknown, retryMs: number): void {
    if (this.#state.phase === "absent") return;
    this.#indexer.replace([]);
    this.#hasSynced = true;
    this.#enter({ phase: "absent", reason: reasonOf(error), retryMs });
  }

  #enter(state: StoreState): void {
    const isSame = state.phase === this.#state.phase && state.phase === "watching";
    this.#state = state;
    if (!isSame) this.#wake();
  }

  #wake(): void {
    for (const subscription of this.#subscriptions) subscription.wake();
  }

  /** Returns the values to keep for `object`. */
  #parse(object: KubeObject): ParsedObject<T> {
    const { namespace = "", name, uid = "" } = object.metadata;
    const key = keyOf(namespace, name);
    try {
      return { key, namespace, name, uid, value: this.#parser.parse(object) };
    } catch (error) {
      this.#options.onUnreadable(key, error);
      const held = this.#indexer.get(key);
      return { key, namespace, name, uid, value: held?.uid === uid ? held.value : undefined };
    }
  }
}

function isEntry<T>(object: ParsedObject<T>): object is StoreEntry<T> {
  return object.value !== undefined;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
