/** Changes on their way to one listener, joined until it is called: of each object the first `before` and the last `after`. */
import { Backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import type { StoreChange, StoreEntry } from "./indexer.ts";

export interface SubscriptionOptions<T> {
  readonly clock: Clock;
  /** How long a change waits for others. */
  readonly coalesceMs: number;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  readonly isSameEntry: (a: StoreEntry<T> | undefined, b: StoreEntry<T> | undefined) => boolean;
  /** When it throws, it is called again after a wait, with the same changes and those that came meanwhile. */
  readonly deliver: (changes: readonly StoreChange<T>[]) => void;
  /** Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
}

export class Subscription<T> {
  readonly #options: SubscriptionOptions<T>;
  readonly #backoff: Backoff;
  readonly #pending = new Map<string, StoreChange<T>>();
  /** Keys of what was delivered to a listener that threw: which of it the listener has taken is not known. */
  #tried: ReadonlySet<string> = new Set();
  #cancel: (() => void) | undefined;
  #isClosed = false;

  constructor(options: SubscriptionOptions<T>) {
    this.#options = options;
    this.#backoff = new Backoff({ ...options.backoff, random: () => options.clock.random() });
  }

  /**
   * An object has changed. If it is now as the listener last received it, there is nothing to deliver for it; unless the
   * listener threw, and may have taken what was in between.
   */
  note({ key, before, after }: StoreChange<T>): void {
    const known = this.#pending.has(key) ? this.#pending.get(key)?.before : before;
    if (!this.#tried.has(key) && this.#options.isSameEntry(known, after)) this.#pending.delete(key);
    else this.#pending.set(key, { key, before: known, after });
    this.wake();
  }

  /** The listener is called soon, even if no object has changed. */
  wake(): void {
    if (this.#cancel === undefined && !this.#isClosed) this.#schedule(this.#options.coalesceMs);
  }

  /** The listener is not called any more. */
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
