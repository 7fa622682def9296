/**
 * Whole Nodes, asked for one by one: a few requests at a time, each name once however often it is wished for, and again
 * after a wait until it is answered.
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
  /** Must not throw. A Node that is gone by now brings nothing: the watch tells of its end. */
  readonly onNode: (node: KubeNode) => void;
  /** An attempt failed. Must not throw. */
  readonly onFailure: (error: unknown, retryMs: number) => void;
  /** An attempt succeeded after others had failed. Must not throw. */
  readonly onRecovery: () => void;
}

/** A thousand new Nodes are read in about a second, and the server hardly feels it. */
const PARALLEL = 4;

export class NodeFetcher {
  readonly #options: NodeFetcherOptions;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  /** The version that the answer must have reached, by name. */
  readonly #wanted = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();
  /** Wishes given up while a request was on its way make its answer worthless. */
  readonly #inFlight = new Map<string, symbol>();
  #isPausing = false;
  #hasFailed = false;

  /** Nothing is asked, and nothing told, once `signal` has aborted. */
  constructor(options: NodeFetcherOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#backoff = new Backoff({ ...options.backoff, random: () => options.clock.random() });
  }

  /** Asks for the Node of this name as it was at `version` or later. */
  want(name: string, version: string): void {
    this.#wanted.set(name, version);
    this.#pump();
  }

  /** The Node is gone, or was heard of by another way. */
  forget(name: string): void {
    this.#wanted.delete(name);
    this.#inFlight.delete(name);
  }

  forgetAll(): void {
    this.#wanted.clear();
    this.#inFlight.clear();
  }

  /** Resolves when no request is on its way any more. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #pump(): void {
    for (const [name, version] of this.#wanted) {
      if (this.#isPausing || this.#signal.aborted || this.#running.size >= PARALLEL) return;
      // One request for a name at a time: a second wish is served when the first is.
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
    // Requests that fail together are one failure.
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
