/** Services, EndpointSlices and ServiceCIDRs from an API server. Lists nothing before `start`. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Connection } from "../../pkg/cluster/connection.ts";
import type { ResourceParser } from "../../pkg/cluster/parser.ts";
import type { Selection } from "../../pkg/cluster/resource.ts";
import { ENDPOINT_SLICE_PARSER } from "../../pkg/cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER, SERVICE_SELECTION } from "../../pkg/cluster/service/service.ts";
import { SERVICE_CIDR_PARSER } from "../../pkg/cluster/service/service-cidr.ts";
import { Store } from "../../pkg/cluster/store.ts";
import type { Logger } from "../core/log.ts";
import type { ServiceSource } from "./service-source.ts";

export interface KubernetesServicesParts {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The base manifest grants no permissions on Services. */
const GIVEN_BY = "conf/components/service-proxy and the chart's serviceProxy grant them";

export function kubernetesServices({ connection, clock, log }: KubernetesServicesParts): ServiceSource {
  const store = <T>(parser: ResourceParser<T>, selection: Selection = {}) => {
    const { plural, group } = parser.resource;
    const subject = group === "" ? plural : `${plural}.${group}`;
    return new Store(connection, parser, {
      clock,
      selection,
      advice: { 403: `the account needs list and watch on ${subject}: ${GIVEN_BY}` },
      onFailure: (error, retryMs) =>
        log.warn({ err: error, retryMs: Math.round(retryMs) }, `cannot watch ${plural}; keeping the programmed state`),
      onUnreadable: (key, error) =>
        log.error({ key, err: error }, `cannot read an object of ${plural}; keeping its last state`),
    });
  };
  const services = store(SERVICE_PARSER, SERVICE_SELECTION);
  const slices = store(ENDPOINT_SLICE_PARSER, SERVICE_SELECTION);
  const cidrs = store(SERVICE_CIDR_PARSER);
  const stores = [services, slices, cidrs];
  return {
    ...{ services, slices, cidrs },
    start: () => {
      for (const each of stores) each.start();
    },
    stop: async () => {
      await Promise.all(stores.map((each) => each.stop()));
    },
  };
}
