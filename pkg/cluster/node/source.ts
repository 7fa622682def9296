/** Where nodes come from: the contract that the Kubernetes watch fulfils, and any other source can. */
import type { ClusterNode } from "./node.ts";

export type SourceEvent =
  /** The whole set as it is now; what was known and is not in it is gone. The first event that brings nodes. */
  | { readonly type: "sync"; readonly nodes: readonly ClusterNode[] }
  /** A node that is new, or differs from what the last event about it said. */
  | { readonly type: "upsert"; readonly node: ClusterNode }
  | { readonly type: "delete"; readonly name: string }
  /** What was said so far is current, and changes will follow as they happen. */
  | { readonly type: "connected" }
  /**
   * The source cannot be reached. The known nodes stay valid: a peer is not gone because somebody does not answer.
   * Comes once for each failed attempt.
   */
  | {
      readonly type: "stale";
      /** Time since the source was last heard of, or since the start. */
      readonly silentMs: number;
      /** What failed and what to do about it, for the log. */
      readonly reason: string;
      /** Time until the next attempt. */
      readonly retryMs: number;
    };

/**
 * Called for one event after the other, never while an earlier call has not returned. When it throws on an event about
 * nodes, it is told of the whole set again after a while; on the others it must not throw.
 */
export type SourceListener = (event: SourceEvent) => void;

export interface NodeSource {
  /** Begins to deliver. Called once. */
  start(listener: SourceListener): void;
  /** No event follows once this has resolved. */
  stop(): Promise<void>;
}
