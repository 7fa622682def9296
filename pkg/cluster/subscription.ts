/**
 * Collects changes for one listener until it is called, and merges them: the first `before` and the last `after` of
 * each object.
 */
import { Backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import type { StoreChange, StoreEntry } from "./indexer.ts";

export interface SubscriptionOptions<T> {
  readonly clock: Clock;
  /** The time that a change waits for others. */
  readonly coalesceMs: number;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  readonly isSameEntry: (a: StoreEntry<T> | undefined, b: StoreEntry<T> | undefined) => boolean;
  /** If it throws, it is called again after a delay with the same changes and those that happened meanwhile. */
  readonly deliver: (changes: readonly StoreChange<T>[]) => void;
  /** Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
}

export class Subscription<T> {
  readonly #options: SubscriptionOptions<T>;
  readonly #backoff: Backoff;
  readonly #pending = new Map<string, StoreChange<T>>();
  /**
   * The keys of changes that were delivered to a listener that threw. Which of them the listener has processed is
   * unknown.
   */
  #tried: ReadonlySet<string> = new Set();
  #cancel: (() => void) | undefined;
  #isClosed = false;

  constructor(options: SubscriptionOptions<T>) {
    this.#options = options;
    this.#backoff = new Backoff({ ...options.backoff, random: () => options.clock.random() });
  }

  /**
   * Records the change of an object. If the object is now as the listener last received it, there is nothing to
   * deliver, unless the listener threw and may have processed a state in between.
   */
  note({ key, before, after }: StoreChange<T>): void {
    const known = this.#pending.has(key) ? this.#pending.get(key)?.before : before;
    if (!this.#tried.has(key) && this.#options.isSameEntry(known, after)) this.#pending.delete(key);
    else this.#pending.set(key, { key, before: known, after });
    this.wake();
  }

  /** Schedules a call of the listener, even if no object has changed. */
  wake(): void {
    if (this.#cancel === undefined && !this.#isClosed) this.#schedule(this.#options.coalesceMs);
  }

  /** After it, the listener is not called any more. */
  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.#pending.clear();
  }

  #schedule(ms: number): void {
    this.#cancel = this.#options.clock.setTimer(ms, () => this.#deliver());
  }

  #deliver(): void {
    this.#cancel = undefined;
    try {
      this.#options.deliver([...this.#pending.values()]);
      this.#pending.clear();
      this.#tried = new Set();
      this.#backoff.reset();
    } catch (error) {
      if (this.#isClosed) return;
      this.#tried = new Set(this.#pending.keys());
      const retryMs = this.#backoff.next();
      this.#schedule(retryMs);
      this.#options.onFailure(error, retryMs);
    }
  }
}
