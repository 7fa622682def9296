/** Reads the endpoints of default/kubernetes periodically, for nodes on which nothing else watches EndpointSlices. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Connection } from "../../pkg/cluster/connection.ts";
import { isNotFound } from "../../pkg/cluster/errors.ts";
import { ResourceClient } from "../../pkg/cluster/resource-client.ts";
import { ENDPOINT_SLICE_PARSER } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Logger } from "../core/log.ts";
import { Loop } from "../core/loop.ts";
import type { KnownServers } from "./known-servers.ts";

/** API servers rarely change their addresses, and a node that missed a change still has the ClusterIP. */
const LOOK_MS = 10 * 60_000;

const BACKOFF = { initialMs: 5000, maxMs: LOOK_MS };

/** The EndpointSlice that API servers write themselves has the Service's name. */
const SLICE = { namespace: "default", name: "kubernetes" };

export interface ServerLookupOptions {
  readonly connection: Connection;
  readonly known: Pick<KnownServers, "learn">;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ServerLookup {
  readonly #options: ServerLookupOptions;
  readonly #client: ResourceClient;
  readonly #stopping = new AbortController();
  readonly #loop: Loop;
  #hasFailed = false;

  constructor(options: ServerLookupOptions) {
    const { connection, clock } = options;
    const advice = { 403: "the account needs get on endpointslices.discovery.k8s.io in the namespace default" };
    this.#options = options;
    this.#client = new ResourceClient(connection, ENDPOINT_SLICE_PARSER.resource, advice);
    this.#loop = new Loop({
      clock,
      backoff: BACKOFF,
      intervalMs: LOOK_MS,
      pass: () => this.#look(),
      onFailure: (error) => this.#failed(error),
    });
  }

  start(): void {
    this.#loop.ask("start");
  }

  /** Aborts a running attempt. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  async #look(): Promise<void> {
    const { known } = this.#options;
    try {
      const slice = ENDPOINT_SLICE_PARSER.parse(await this.#client.get(SLICE, this.#stopping.signal));
      await known.learn(slice === undefined ? [] : [slice]);
    } catch (error) {
      // The cluster publishes no endpoints of its API servers (--endpoint-reconciler-type=none).
      if (!isNotFound(error)) throw error;
    }
    this.#hasFailed = false;
  }

  /** Logs only the first failure, because the addresses are not needed before the next reboot. */
  #failed(error: unknown): void {
    if (this.#stopping.signal.aborted || this.#hasFailed) return;
    this.#hasFailed = true;
    this.#options.log.warn({ err: error }, "cannot read the addresses of API servers; retrying");
  }
}
