/** The contract of a source of nodes. The Kubernetes watch implements it, and other sources can. */
import type { ClusterNode } from "./node.ts";

export type SourceEvent =
  /** The complete current set. Known nodes that are not in it no longer exist. It is the first event with nodes. */
  | { readonly type: "sync"; readonly nodes: readonly ClusterNode[] }
  /** A node that is new or has changed since the last event about it. */
  | { readonly type: "upsert"; readonly node: ClusterNode }
  | { readonly type: "delete"; readonly name: string }
  /** The reported nodes are current, and changes will be reported as they happen. */
  | { readonly type: "connected" }
  /**
   * The source cannot be reached. The known nodes stay valid: a failed connection does not mean that a peer no longer
   * exists. Sent once for each failed attempt.
   */
  | {
      readonly type: "stale";
      /** The time since the source last answered, or since the start. */
      readonly silentMs: number;
      /** What failed and what to do, for the log. */
      readonly reason: string;
      /** The time until the next attempt. */
      readonly retryMs: number;
    };

/**
 * Called for one event at a time. If it throws on an event about nodes, it receives the complete set again after a
 * delay. It must not throw on other events.
 */
export type SourceListener = (event: SourceEvent) => void;

export interface NodeSource {
  /** Starts to report events. Called once. */
  start(listener: SourceListener): void;
  /** After it has resolved, no event follows. */
  stop(): Promise<void>;
}
