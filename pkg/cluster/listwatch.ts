/**
 * List, then watch, then watch again: the loop that keeps a copy of the cluster's objects of one kind current.
 *
 *     list in pages ──> watch from the list's version ──> ended by the server: watch from the last version
 *        ▲   ▲                     │
 *        │   │                     ├── server unreachable or refuses: back off, watch from the last version
 *        │   └── back off <── 410, silence, an invalid answer
 *        └── back off long <── 404: the server does not know the resource (a CRD that is not installed)
 *
 * Bookmarks advance the version while no object changes, so that a later watch is not too old. The delay doubles until
 * a watch works, which means that it delivered an event or lasted for a while. Otherwise a server that accepts each
 * watch and ends it at once would be queried without pause.
 */
import { Backoff } from "./backoff.ts";
import { type Clock, sleep } from "./clock.ts";
import { isNotFound, isResumable, KubernetesError } from "./errors.ts";

/** The client that the loop needs. A list may contain more of each object than the events of a watch. */
export interface ListerWatcher<Listed, Watched = Listed> {
  /** The resource for messages: "nodes". */
  readonly subject: string;
  /** Rejects with status 410 if the server no longer has the list to which `next` belongs. */
  listPage(limit: number, next: string | undefined, signal?: AbortSignal): Promise<Page<Listed>>;
  /** Resolves when the server ends the watch. An ERROR event is thrown as a refusal with its code. */
  watch(request: WatchRequest, handlers: WatchHandlers<Watched>, signal?: AbortSignal): Promise<void>;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  /** The version of the list. A watch from this version misses nothing. */
  readonly version: string;
  /** The token of the next page. Undefined for the last page. */
  readonly next: string | undefined;
}

export interface WatchRequest {
  readonly version: string;
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number;
  /** Must be longer than the time between two bookmarks, which is a minute or slightly more. */
  readonly silenceMs: number;
}

export interface WatchHandlers<Item> {
  onOpen(): void;
  onEvent(event: WatchEvent<Item>): void;
}

/** An object that was added, changed or deleted. Leaving the selection counts as deletion. */
export interface ObjectEvent<Item> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: Item;
  readonly version: string;
}

export type WatchEvent<Item> =
  | ObjectEvent<Item>
  /** No object changed up to this version. */
  | { readonly type: "BOOKMARK"; readonly version: string };

export interface ListWatchOptions {
  readonly clock: Clock;
  /** The number of objects in one page of the list. */
  readonly pageSize: number;
  /**
   * A watch ends after a random time in this range, so that a cluster's nodes do not renew their watches at the same
   * time.
   */
  readonly timeoutSeconds: { readonly min: number; readonly max: number };
  /** A watch without data for this long counts as dead. Bookmarks arrive every 45 to 75 seconds. */
  readonly silenceMs: number;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  /**
   * The longest delay before an unknown resource is requested again; the shortest is half of it. Undefined: the
   * resource is part of every server, and a 404 is an ordinary failure.
   */
  readonly absentRetryMs?: number | undefined;
}

export const LIST_WATCH_DEFAULTS = {
  pageSize: 500,
  timeoutSeconds: { min: 290, max: 590 },
  silenceMs: 100_000,
  backoff: { initialMs: 500, maxMs: 10_000 },
} as const;

/** If `onList` or `onChange` throws, the loop lists again after a delay. The other functions must not throw. */
export interface ListWatchHandler<Listed, Watched = Listed> {
  /** Receives the complete current set. */
  onList(items: readonly Listed[]): void;
  onChange(event: ObjectEvent<Watched>): void;
  /** Called when a watch has begun. From now on, changes arrive as they happen. */
  onWatching(): void;
  /** Called if the list or the watch failed. */
  onFailure(error: unknown, retryMs: number): void;
  /** Called if the server does not know the resource, so no such objects exist. Only with `absentRetryMs`. */
  onAbsent?(error: unknown, retryMs: number): void;
}

/** A watch that lasted this long is a success, even without events. */
const HEALTHY_WATCH_MS = 2000;

/** A watch that ended sooner without events is a failure, even if the server ended it normally. */
const SHORT_WATCH_MS = 1000;

/** The number of consecutive lists with 404 after which an existing resource counts as removed. */
const GONE_AFTER = 3;

export class ListWatch<Listed, Watched = Listed> {
  readonly #api: ListerWatcher<Listed, Watched>;
  readonly #options: ListWatchOptions;
  readonly #handler: ListWatchHandler<Listed, Watched>;
  readonly #backoff: Backoff;
  /** The start of the next watch. Undefined if a list is needed. */
  #version: string | undefined;
  /** Aborts the current watch. */
  #cut = new AbortController();
  #heardMs: number;
  /** The number of lists with 404 since the last one with another result. */
  #notFound = 0;
  /** True if the handler has received a list, and the resource has not become absent since. */
  #isListed = false;

  constructor(
    api: ListerWatcher<Listed, Watched>,
    options: ListWatchOptions,
    handler: ListWatchHandler<Listed, Watched>,
  ) {
    this.#api = api;
    this.#options = options;
    this.#handler = handler;
    this.#backoff = new Backoff({ ...options.backoff, random: () => options.clock.random() });
    this.#heardMs = options.clock.nowMs();
  }

  /** The time since the server last answered a list or a watch, or since the start. */
  get silentMs(): number {
    return this.#options.clock.nowMs() - this.#heardMs;
  }

  /** Ends the current watch with the failure `reason`. A list follows after a delay. */
  restart(reason: unknown): void {
    this.#cut.abort(reason);
  }

  /** Runs until `signal` aborts. Never throws. Calls no handler after that. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const version = this.#version ?? (await this.#list(signal));
        await this.#watch(version, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!isResumable(error)) this.#version = undefined;
        await sleep(this.#options.clock, this.#fail(error), signal);
      }
    }
  }

  /** Reports the failure to the handler and returns the delay. */
  #fail(error: unknown): number {
    const { clock, absentRetryMs } = this.#options;
    if (absentRetryMs !== undefined && isNotFound(error) && this.#notFound >= (this.#isListed ? GONE_AFTER : 1)) {
      const retryMs = absentRetryMs * (0.5 + clock.random() / 2);
      this.#isListed = false;
      this.#backoff.reset();
      this.#handler.onAbsent?.(error, retryMs);
      return retryMs;
    }
    const askedMs = error instanceof KubernetesError ? error.retryAfterMs : 0;
    const retryMs = Math.max(this.#backoff.next(), askedMs);
    this.#handler.onFailure(error, retryMs);
    return retryMs;
  }

  /** Reports the new set only when all its pages have arrived. */
  async #list(signal: AbortSignal): Promise<string> {
    const items: Listed[] = [];
    let next: string | undefined;
    let version: string;
    do {
      const page = await this.#listPage(next, signal);
      for (const item of page.items) items.push(item);
      ({ next, version } = page);
    } while (next !== undefined);
    if (signal.aborted) return version;
    this.#handler.onList(items);
    this.#isListed = true;
    this.#version = version;
    return version;
  }

  async #listPage(next: string | undefined, signal: AbortSignal): Promise<Page<Listed>> {
    try {
      const page = await this.#api.listPage(this.#options.pageSize, next, signal);
      this.#notFound = 0;
      this.#heard();
      return page;
    } catch (error) {
      this.#notFound = isNotFound(error) ? this.#notFound + 1 : 0;
      if (this.#notFound > 0) this.#heard();
      throw error;
    }
  }

  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const { clock, silenceMs, timeoutSeconds } = this.#options;
    const { min, max } = timeoutSeconds;
    const request = { version, silenceMs, timeoutSeconds: min + Math.floor(clock.random() * (max - min + 1)) };
    let openedMs: number | undefined;
    let events = 0;
    const onOpen = () => {
      openedMs = this.#heard();
      if (!signal.aborted) this.#handler.onWatching();
    };
    const onEvent = (event: WatchEvent<Watched>) => {
      if (signal.aborted) return;
      this.#heard();
      this.#backoff.reset();
      events++;
      if (event.type !== "BOOKMARK") this.#handler.onChange(event);
      this.#version = event.version;
    };
    const cut = new AbortController();
    this.#cut = cut;
    try {
      await this.#api.watch(request, { onOpen, onEvent }, AbortSignal.any([signal, cut.signal]));
    } catch (error) {
      throw cut.signal.aborted ? cut.signal.reason : error;
    } finally {
      if (openedMs !== undefined && clock.nowMs() - openedMs >= HEALTHY_WATCH_MS) this.#backoff.reset();
    }
    const lastedMs = clock.nowMs() - (openedMs ?? clock.nowMs());
    if (events === 0 && lastedMs < SHORT_WATCH_MS) {
      const lasted = `${Math.round(lastedMs)} ms`;
      const message = `watch ${this.#api.subject}: the server ended it after ${lasted} without an event`;
      throw new KubernetesError("connection", message);
    }
  }

  #heard(): number {
    this.#heardMs = this.#options.clock.nowMs();
    return this.#heardMs;
  }
}
