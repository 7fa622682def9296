/**
 * The known nodes of the cluster, updated by a source's events, and the times of events that are not programmed yet.
 */
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import type { SourceEvent } from "../../pkg/cluster/node/source.ts";

export class NodeView {
  readonly #ownName: string;
  #nodes = new Map<string, ClusterNode>();
  #isSynced = false;
  /** Computed on demand: thousands of changes may arrive between two reads. */
  #peers: readonly ClusterNode[] | undefined;
  /** The arrival times of events that no pass has programmed yet. */
  #heardMs: number[] = [];
  /** The names of Nodes that have changed since the last `takeChanged`; undefined if any may have. */
  #changed: Set<string> | undefined;

  constructor(ownName: string) {
    this.#ownName = ownName;
  }

  /** Applies an event. True if it is about nodes; a pass should follow. */
  accept(event: SourceEvent, nowMs: number): boolean {
    switch (event.type) {
      case "sync":
        this.#nodes = new Map(event.nodes.map((node) => [node.name, node]));
        this.#isSynced = true;
        this.#changed = undefined;
        break;
      case "upsert":
        this.#nodes.set(event.node.name, event.node);
        this.#changed?.add(event.node.name);
        break;
      case "delete":
        this.#nodes.delete(event.name);
        this.#changed?.add(event.name);
        break;
      default:
        return false;
    }
    this.#peers = undefined;
    this.#heardMs.push(nowMs);
    return true;
  }

  /** True once all nodes were listed. Before that, a missing peer may merely not have been listed yet. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** This node, if the source knows it. */
  get own(): ClusterNode | undefined {
    return this.#nodes.get(this.#ownName);
  }

  /** All other nodes, sorted by name. */
  get peers(): readonly ClusterNode[] {
    this.#peers ??= [...this.#nodes.values()]
      .filter(({ name }) => name !== this.#ownName)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.#peers;
  }

  get peerCount(): number {
    return this.#nodes.size - (this.#nodes.has(this.#ownName) ? 1 : 0);
  }

  /** The Node of this name, this node's own included. */
  get(name: string): ClusterNode | undefined {
    return this.#nodes.get(name);
  }

  /**
   * Returns the names of the Nodes that were added, changed or deleted since the last call; undefined if any Node may
   * have been.
   */
  takeChanged(): ReadonlySet<string> | undefined {
    const taken = this.#changed;
    this.#changed = new Set();
    return taken;
  }

  /** Returns and clears the arrival times of the events that the pass beginning now will program. */
  takeHeard(): readonly number[] {
    const taken = this.#heardMs;
    this.#heardMs = [];
    return taken;
  }

  /** Restores the times from `takeHeard`, after a failed pass. */
  giveBackHeard(times: readonly number[]): void {
    this.#heardMs = [...times, ...this.#heardMs];
  }
}
