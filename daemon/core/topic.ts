/** Topics to which controllers subscribe: sources of objects, and facts that another controller publishes. */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { PassRequest } from "./loop.ts";

export interface Subscribable {
  /** The reason of passes that this topic triggers. */
  readonly name: string;
  /** Calls `listener` at each change until the returned function is called. */
  subscribe(listener: (request: PassRequest) => void): () => void;
}

/** An object that may have changed. Subscribers read the current state themselves. */
export class Topic implements Subscribable {
  readonly name: string;
  readonly #listeners = new Set<(request: PassRequest) => void>();

  constructor(name: string) {
    this.name = name;
  }

  subscribe(listener: (request: PassRequest) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Notifies the subscribers. `request` says how soon the triggered passes must begin. */
  notify(request: PassRequest = {}): void {
    for (const listener of this.#listeners) listener(request);
  }
}

/**
 * A value that one controller publishes and others use. Controllers never call each other; if the publisher fails, the
 * last value remains available.
 */
export class Fact<T> extends Topic {
  readonly #isSame: (a: T, b: T) => boolean;
  #value: T | undefined;

  constructor(name: string, isSame: (a: T, b: T) => boolean = isDeepStrictEqual) {
    super(name);
    this.#isSame = isSame;
  }

  /** Undefined until the first `publish`. */
  get value(): T | undefined {
    return this.#value;
  }

  /**
   * Sets the value and notifies the subscribers if it differs from the last one. Otherwise `value` stays the same
   * object.
   */
  publish(value: T): void {
    const last = this.#value;
    if (last !== undefined && this.#isSame(last, value)) return;
    this.#value = value;
    this.notify();
  }
}

/** Resolves true as soon as `fact` has the object `value`, or false if that does not happen within `limitMs`. */
export function reached<T>(fact: Fact<T>, value: T, clock: Pick<Clock, "setTimer">, limitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    if (fact.value === value) return resolve(true);
    const end = (isReached: boolean) => {
      unsubscribe();
      cancel();
      resolve(isReached);
    };
    const unsubscribe = fact.subscribe(() => {
      if (fact.value === value) end(true);
    });
    const cancel = clock.setTimer(limitMs, () => end(false));
  });
}

/** Identifies a fact and the type of its value, for its publisher and its subscribers. */
export class FactKey<T> {
  readonly name: string;
  readonly isSame: ((a: T, b: T) => boolean) | undefined;

  constructor(name: string, isSame?: (a: T, b: T) => boolean) {
    this.name = name;
    this.isSame = isSame;
  }
}

/** The facts of one weftd. */
export class Facts {
  readonly #facts = new Map<FactKey<never>, Fact<never>>();

  of<T>(key: FactKey<T>): Fact<T> {
    const known = this.#facts.get(key as unknown as FactKey<never>) as unknown as Fact<T> | undefined;
    if (known !== undefined) return known;
    const fact = new Fact<T>(key.name, key.isSame);
    this.#facts.set(key as unknown as FactKey<never>, fact as unknown as Fact<never>);
    return fact;
  }
}
