/**
 * Sets the Node's condition NetworkUnavailable to False once this node serves pods. The scheduler waits for that if a
 * cloud controller has set the condition to True. The condition stays False when weftd stops, because the data path
 * stays.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import { type ClusterNode, NETWORK_UNAVAILABLE } from "../../pkg/cluster/node/node.ts";
import type { NodeApi } from "../../pkg/cluster/node/node-api.ts";
import type { Logger } from "../core/log.ts";
import { Loop } from "../core/loop.ts";

export interface NetworkConditionOptions {
  readonly api: Pick<NodeApi, "publishCondition">;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const BACKOFF = { initialMs: 500, maxMs: 30_000 };

const IS_UP = {
  type: NETWORK_UNAVAILABLE,
  status: "False",
  reason: "WeftIsUp",
  message: "weft connects this node's pods",
} as const;

export class NetworkCondition {
  readonly #stopping = new AbortController();
  readonly #loop: Loop;
  #seen: ClusterNode | undefined;

  constructor({ api, nodeName, clock, log }: NetworkConditionOptions) {
    this.#loop = new Loop({
      clock,
      backoff: BACKOFF,
      pass: async () => {
        await api.publishCondition(nodeName, IS_UP, new Date().toISOString(), this.#stopping.signal);
        log.info({ condition: IS_UP }, "condition published");
      },
      onFailure: (error, retryMs) => {
        if (this.#stopping.signal.aborted) return;
        log.warn({ err: error, retryMs: Math.round(retryMs) }, "condition not published");
      },
    });
  }

  /**
   * Called when this node serves pods. `own` is the last known state of its Node; if its condition differs, it is
   * written.
   */
  serves(own: ClusterNode): void {
    if (own === this.#seen) return;
    this.#seen = own;
    const { status, reason } = own.networkUnavailable ?? {};
    if (status !== IS_UP.status || reason !== IS_UP.reason) this.#loop.ask("condition");
  }

  /** Aborts a running attempt. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }
}
