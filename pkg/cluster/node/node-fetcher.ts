/**
 * Reads complete Nodes one by one: a few requests at a time, each requested name once, with retries after a back-off
 * until it is answered.
 */
import { Backoff } from "../backoff.ts";
import { type Clock, sleep } from "../clock.ts";
import { isNotFound, KubernetesError } from "../errors.ts";
import type { KubeNode } from "./node.ts";
import type { NodeApi } from "./node-api.ts";

export interface NodeFetcherOptions {
  readonly api: Pick<NodeApi, "getNode">;
  readonly clock: Clock;
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
  /** Must not throw. Not called for a Node that was deleted meanwhile: the watch reports the deletion. */
  readonly onNode: (node: KubeNode) => void;
  /** Called if an attempt failed. Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
  /** Called if an attempt succeeded after a failure. Must not throw. */
  readonly onRecovery: () => void;
}

/** A thousand new Nodes are read in about a second, with little load for the server. */
const PARALLEL = 4;

export class NodeFetcher {
  readonly #options: NodeFetcherOptions;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  /** The version that the answer must have reached, by name. */
  readonly #wanted = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();
  /** Identifies the current request of a name. The answer to a forgotten request is ignored. */
  readonly #inFlight = new Map<string, symbol>();
  #isPausing = false;
  #hasFailed = false;

  /** After `signal` has aborted, sends no request and reports nothing. */
  constructor(options: NodeFetcherOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#backoff = new Backoff({ ...options.backoff, random: () => options.clock.random() });
  }

  /** Requests the Node of this name in `version` or later. */
  want(name: string, version: string): void {
    this.#wanted.set(name, version);
    this.#pump();
  }

  /** Cancels the request: the Node was deleted, or was read in another way. */
  forget(name: string): void {
    this.#wanted.delete(name);
    this.#inFlight.delete(name);
  }

  forgetAll(): void {
    this.#wanted.clear();
    this.#inFlight.clear();
  }

  /** Resolves when no request is running any more. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #pump(): void {
    for (const [name, version] of this.#wanted) {
      if (this.#isPausing || this.#signal.aborted || this.#running.size >= PARALLEL) return;
      // Only one request for a name runs at a time. A second request follows when the first has ended.
      if (this.#inFlight.has(name)) continue;
      this.#wanted.delete(name);
      const turn = this.#fetch(name, version).finally(() => {
        this.#running.delete(turn);
        this.#pump();
      });
      this.#running.add(turn);
    }
  }

  async #fetch(name: string, version: string): Promise<void> {
    const { api, onNode, onRecovery } = this.#options;
    const ticket = Symbol(name);
    this.#inFlight.set(name, ticket);
    try {
      const node = await api.getNode(name, this.#signal, version);
      if (this.#signal.aborted) return;
      this.#backoff.reset();
      if (this.#hasFailed) onRecovery();
      this.#hasFailed = false;
      if (this.#inFlight.get(name) === ticket) onNode(node);
    } catch (error) {
      if (this.#signal.aborted || isNotFound(error)) return;
      if (this.#inFlight.get(name) === ticket && !this.#wanted.has(name)) this.#wanted.set(name, version);
      await this.#pause(error);
    } finally {
      if (this.#inFlight.get(name) === ticket) this.#inFlight.delete(name);
    }
  }

  async #pause(error: unknown): Promise<void> {
    // Requests that fail together count as one failure.
    if (this.#isPausing) return;
    const { clock, onFailure } = this.#options;
    const askedMs = error instanceof KubernetesError ? error.retryAfterMs : 0;
    const retryMs = Math.max(this.#backoff.next(), askedMs);
    this.#isPausing = true;
    this.#hasFailed = true;
    onFailure(error, retryMs);
    await sleep(clock, retryMs, this.#signal);
    this.#isPausing = false;
  }
}
