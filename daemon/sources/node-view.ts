/**
 * What is known of the cluster's nodes, kept up from a source's events; and which of those events have not reached the
 * kernel yet.
 */
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import type { SourceEvent } from "../../pkg/cluster/node/source.ts";

export class NodeView {
  readonly #ownName: string;
  #nodes = new Map<string, ClusterNode>();
  #isSynced = false;
  /** Made when somebody asks after a change: thousands of changes may come between two looks. */
  #peers: readonly ClusterNode[] | undefined;
  /** When the events came that no pass has programmed yet. */
  #heardMs: number[] = [];

  constructor(ownName: string) {
    this.#ownName = ownName;
  }

  /** True when the event says something about nodes; a pass should follow. */
  accept(event: SourceEvent, nowMs: number): boolean {
    switch (event.type) {
      case "sync":
        this.#nodes = new Map(event.nodes.map((node) => [node.name, node]));
        this.#isSynced = true;
        break;
      case "upsert":
        this.#nodes.set(event.node.name, event.node);
        break;
      case "delete":
        this.#nodes.delete(event.name);
        break;
      default:
        return false;
    }
    this.#peers = undefined;
    this.#heardMs.push(nowMs);
    return true;
  }

  /** True once all nodes were listed. Before that, an absent peer may merely not have been heard of. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** This node, if the source knows it. */
  get own(): ClusterNode | undefined {
    return this.#nodes.get(this.#ownName);
  }

  /** All other nodes, by name. */
  get peers(): readonly ClusterNode[] {
    this.#peers ??= [...this.#nodes.values()]
      .filter(({ name }) => name !== this.#ownName)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.#peers;
  }

  get peerCount(): number {
    return this.#nodes.size - (this.#nodes.has(this.#ownName) ? 1 : 0);
  }

  /** Takes the times of the events that a pass beginning now will program. */
  takeHeard(): readonly number[] {
    const taken = this.#heardMs;
    this.#heardMs = [];
    return taken;
  }

  /** Gives back what `takeHeard` gave, after a pass that failed. */
  giveBackHeard(times: readonly number[]): void {
    this.#heardMs = [...times, ...this.#heardMs];
  }
}
