/** Services, EndpointSlices and ServiceCIDRs of a Kubernetes API server. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Connection } from "../../pkg/cluster/connection.ts";
import type { ResourceParser } from "../../pkg/cluster/parser.ts";
import { ENDPOINT_SLICE_PARSER, type EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER, SERVICE_SELECTION, type Service } from "../../pkg/cluster/service/service.ts";
import { SERVICE_CIDR_PARSER, type ServiceCIDR } from "../../pkg/cluster/service/service-cidr.ts";
import { Store, type StoreOptions } from "../../pkg/cluster/store.ts";
import type { Logger } from "../core/log.ts";
import type { ServiceSource } from "./service-source.ts";

export interface ServiceStoresOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ServiceStores implements ServiceSource {
  readonly services: Store<Service>;
  readonly slices: Store<EndpointSlice>;
  readonly cidrs: Store<ServiceCIDR>;

  /** Nothing is asked before `start`. */
  constructor({ connection, clock, log }: ServiceStoresOptions) {
    const open = <T>(parser: ResourceParser<T>, options: Partial<StoreOptions> = {}) => {
      const { plural } = parser.resource;
      return new Store(connection, parser, {
        clock,
        onFailure: (error, retryMs) =>
          log.warn(
            { err: error, retryMs: Math.round(retryMs) },
            `${plural} cannot be followed; what is programmed stays`,
          ),
        onUnreadable: (key, error) => log.error({ err: error, key }, `one of ${plural} cannot be read`),
        ...options,
      });
    };
    this.services = open(SERVICE_PARSER, { selection: SERVICE_SELECTION });
    this.slices = open(ENDPOINT_SLICE_PARSER, { selection: SERVICE_SELECTION });
    this.cidrs = open(SERVICE_CIDR_PARSER);
  }

  start(): void {
    for (const store of [this.services, this.slices, this.cidrs]) store.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.services, this.slices, this.cidrs].map((store) => store.stop()));
  }
}
