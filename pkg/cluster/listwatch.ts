/**
 * List, then watch, then watch again: the loop that keeps a copy of the cluster's objects of one kind current.
 *
 *     list in pages ──> watch from the list's version ──> ended by the server: watch on from the last version
 *        ▲   ▲                     │
 *        │   │                     ├── server unreachable, refuses: wait, watch on from the last version
 *        │   └── wait <── 410, silence, an answer that makes no sense
 *        └── wait long <── 404: the server does not know the resource (a CRD that is not installed)
 *
 * Bookmarks carry the version forward while nothing happens, so that a later watch is not too old. Every wait doubles
 * until a watch has shown that it works, which is when it delivered something or lasted a while: a server that accepts
 * each watch and ends it at once would otherwise be asked without pause.
 */
import { Backoff } from "./backoff.ts";
import { type Clock, sleep } from "./clock.ts";
import { isNotFound, isResumable, KubernetesError } from "./errors.ts";

/** What the loop needs of a client. A list may carry more of each object than the events of a watch do. */
export interface ListerWatcher<Listed, Watched = Listed> {
  /** The resource, for messages: "nodes". */
  readonly subject: string;
  /** Rejects with status 410 when the list behind `next` is no longer held. */
  listPage(limit: number, next: string | undefined, signal?: AbortSignal): Promise<Page<Listed>>;
  /** Resolves when the server ends the watch; an ERROR event is thrown as a refusal with its code. */
  watch(request: WatchRequest, handlers: WatchHandlers<Watched>, signal?: AbortSignal): Promise<void>;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  /** The version that the list shows; a watch from here misses nothing. */
  readonly version: string;
  /** Where the next page begins; undefined on the last one. */
  readonly next: string | undefined;
}

export interface WatchRequest {
  readonly version: string;
  /** After this time the server ends the watch. */
  readonly timeoutSeconds: number;
  /** Longer than the time between two bookmarks, a minute or a little more. */
  readonly silenceMs: number;
}

export interface WatchHandlers<Item> {
  onOpen(): void;
  onEvent(event: WatchEvent<Item>): void;
}

/** An object that came, changed or went; or left the selection, which counts as going. */
export interface ObjectEvent<Item> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: Item;
  readonly version: string;
}

export type WatchEvent<Item> =
  | ObjectEvent<Item>
  /** Nothing happened up to this version. */
  | { readonly type: "BOOKMARK"; readonly version: string };

export interface ListWatchOptions {
  readonly clock: Clock;
  /** Objects in one page of the list. */
  readonly pageSize: number;
  /** A watch ends after a random time in this range, so that the watches of a cluster's nodes do not renew in step. */
  readonly timeoutSeconds: { readonly min: number; readonly max: number };
  /** A watch that is silent for this long is taken for dead. Bookmarks come every 45 to 75 seconds. */
  readonly silenceMs: number;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  /**
   * The longest wait before a resource that the server does not know is asked for again; the shortest is half of it.
   * undefined: the resource is part of every server, and a 404 is a failure like others.
   */
  readonly absentRetryMs?: number | undefined;
}

export const LIST_WATCH_DEFAULTS = {
  pageSize: 500,
  timeoutSeconds: { min: 290, max: 590 },
  silenceMs: 100_000,
  backoff: { initialMs: 500, maxMs: 10_000 },
} as const;

/** When `onList` or `onChange` throws, that costs a new list, after a wait. The others must not throw. */
export interface ListWatchHandler<Listed, Watched = Listed> {
  /** The whole set as it is now. */
  onList(items: readonly Listed[]): void;
  onChange(event: ObjectEvent<Watched>): void;
  /** A watch has begun: from here on, changes arrive as they happen. */
  onWatching(): void;
  /** The list or the watch failed. */
  onFailure(error: unknown, retryMs: number): void;
  /** The server does not know the resource, so there are no such objects. Only called with `absentRetryMs`. */
  onAbsent?(error: unknown, retryMs: number): void;
}

/** A watch that lasted this long was a success, even if nothing happened. */
const HEALTHY_WATCH_MS = 2000;

/** A watch that ended sooner than this and brought nothing was a failure, however politely it ended. */
const SHORT_WATCH_MS = 1000;

/** So many lists in turn must be answered 404 before a resource that was there is believed to be gone. */
const GONE_AFTER = 3;

export class ListWatch<Listed, Watched = Listed> {
  readonly #api: ListerWatcher<Listed, Watched>;
  readonly #options: ListWatchOptions;
  readonly #handler: ListWatchHandler<Listed, Watched>;
  readonly #backoff: Backoff;
  /** Where the next watch begins; undefined when only a list can tell. */
  #version: string | undefined;
  /** Ends the watch under way. */
  #cut = new AbortController();
  #heardMs: number;
  /** Lists answered 404 since the last one that was not. */
  #notFound = 0;
  /** Whether the handler has received a list, and the resource was not found absent since. */
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

  /** Time since the server was last heard of by a list or a watch, or since the start. */
  get silentMs(): number {
    return this.#options.clock.nowMs() - this.#heardMs;
  }

  /** Ends the watch under way as failed for `reason`; a list follows, after a wait. */
  restart(reason: unknown): void {
    this.#cut.abort(reason);
  }

  /** Runs until `signal` aborts; never throws. No handler is called after that. */
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

  /** Tells the handler, and returns how long to wait. */
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

  /** Hands the new set over only once all its pages are there. */
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
      const message = `watch ${this.#api.subject}: ended by the server after ${Math.round(lastedMs)} ms without an event`;
      throw new KubernetesError("connection", message);
    }
  }

  #heard(): number {
    this.#heardMs = this.#options.clock.nowMs();
    return this.#heardMs;
  }
}
