/**
 * The Node's condition NetworkUnavailable: False once this node serves pods, which is what a scheduler waits for where a
 * cloud's controller has set it to True. It stays so when weftd stops: the data path does, too.
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
        log.info({ condition: IS_UP }, "condition is published");
      },
      onFailure: (error, retryMs) => {
        if (this.#stopping.signal.aborted) return;
        log.warn({ err: error, retryMs: Math.round(retryMs) }, "condition not published");
      },
    });
  }

  /** This node serves pods. `own` is its Node as it was last heard of: when it says something else, it is told. */
  serves(own: ClusterNode): void {
    if (own === this.#seen) return;
    this.#seen = own;
    const { status, reason } = own.networkUnavailable ?? {};
    if (status !== IS_UP.status || reason !== IS_UP.reason) this.#loop.ask("condition");
  }

  /** Gives up an attempt under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }
}
