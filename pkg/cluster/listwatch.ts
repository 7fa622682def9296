/**
 * List, then watch, then watch again: the loop that keeps a copy of the cluster's Nodes current.
 *
 *     list in pages ──> watch from the list's version ──> ended by the server: watch on from the last version
 *          ▲                       │
 *          │                       ├── server unreachable, refuses: wait, watch on from the last version
 *          └── wait <── 410, silence, an answer that makes no sense
 *
 * Bookmarks carry the version forward while nothing happens, so that a later watch is not too old. Every wait doubles
 * until a watch has shown that it works, which is when it delivered something or lasted a while: a server that accepts
 * each watch and ends it at once would otherwise be asked without pause.
 */
import { Backoff } from "./backoff.ts";
import { type Clock, sleep } from "./clock.ts";
import { isResumable, KubernetesError } from "./errors.ts";
import type { KubeNode } from "./node.ts";
import type { NodeApi, WatchEvent } from "./node-api.ts";

export interface ListWatchOptions {
  readonly clock: Clock;
  /** Nodes in one page of the list. */
  readonly pageSize: number;
  /** A watch ends after a random time in this range, so that the nodes' watches do not renew in step. */
  readonly timeoutSeconds: { readonly min: number; readonly max: number };
  /** A watch that is silent for this long is taken for dead. Bookmarks come every 45 to 75 seconds. */
  readonly silenceMs: number;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
}

export const LIST_WATCH_DEFAULTS = {
  pageSize: 500,
  timeoutSeconds: { min: 290, max: 590 },
  silenceMs: 100_000,
  backoff: { initialMs: 500, maxMs: 10_000 },
} as const;

/** When `onList` or `onChange` throws, that costs a new list, after a wait. The others must not throw. */
export interface ListWatchHandler {
  onList(nodes: readonly KubeNode[]): void;
  onChange(event: Exclude<WatchEvent, { type: "BOOKMARK" }>): void;
  /** A watch has begun: from here on, changes are heard of as they happen. */
  onWatching(): void;
  /** The list or the watch failed. */
  onFailure(error: unknown, retryMs: number): void;
}

/** A watch that lasted this long was a success, even if nothing happened. */
const HEALTHY_WATCH_MS = 2000;

/** A watch that ended sooner than this and brought nothing was a failure, however politely it ended. */
const SHORT_WATCH_MS = 1000;

export class ListWatch {
  readonly #api: Pick<NodeApi, "listPage" | "watch">;
  readonly #options: ListWatchOptions;
  readonly #handler: ListWatchHandler;
  readonly #backoff: Backoff;
  /** Where the next watch begins; undefined when only a list can tell. */
  #version: string | undefined;
  /** Ends the watch under way. */
  #cut = new AbortController();
  #heardMs: number;

  constructor(api: Pick<NodeApi, "listPage" | "watch">, options: ListWatchOptions, handler: ListWatchHandler) {
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
        const askedMs = error instanceof KubernetesError ? error.retryAfterMs : 0;
        const retryMs = Math.max(this.#backoff.next(), askedMs);
        this.#handler.onFailure(error, retryMs);
        await sleep(this.#options.clock, retryMs, signal);
      }
    }
  }

  /** Hands the new set over only once all its pages are there. */
  async #list(signal: AbortSignal): Promise<string> {
    const nodes: KubeNode[] = [];
    let next: string | undefined;
    let version: string;
    do {
      const page = await this.#api.listPage(this.#options.pageSize, next, signal);
      this.#heard();
      nodes.push(...page.nodes);
      ({ next, version } = page);
    } while (next !== undefined);
    if (signal.aborted) return version;
    this.#handler.onList(nodes);
    this.#version = version;
    return version;
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
    const onEvent = (event: WatchEvent) => {
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
      const message = `watch nodes: ended by the server after ${Math.round(lastedMs)} ms without an event`;
      throw new KubernetesError("connection", message);
    }
  }

  #heard(): number {
    this.#heardMs = this.#options.clock.nowMs();
    return this.#heardMs;
  }
}
