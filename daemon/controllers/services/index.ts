/** Creates the controller of Services from weftd's parts. */
import { NftablesMode } from "../../../pkg/services/nftables/nftables-mode.ts";
import { ServiceMap } from "../../../pkg/services/service-map.ts";
import type { ControllerFactory } from "../context.ts";
import { ConflictReport } from "./conflict-report.ts";
import { LocalAddresses } from "./local-addresses.ts";
import { ServiceMetrics } from "./service-metrics.ts";
import { ServiceProgrammer } from "./service-programmer.ts";
import { ServicesController } from "./services.ts";

export const services: ControllerFactory = (context) => {
  const { options, cluster, kernel, clock, log, health, metrics, facts, sources } = context;
  // The nodes file may contain no Services.
  if (options.serviceProxy === "none" || cluster.services === undefined) return undefined;
  const gate = context.newGate();
  const map = new ServiceMap();
  const { nftables, programmer } = kernel;
  return new ServicesController({
    ...{ options, map, cluster, facts, health, clock, log, gate },
    source: cluster.services,
    ...{ view: sources.view, nodes: sources.nodes },
    addresses: new LocalAddresses(kernel.netlink),
    programmer: new ServiceProgrammer({ mode: new NftablesMode(), nftables, programmer, gate, log }),
    metrics: new ServiceMetrics(metrics.registry, map),
    conflicts: new ConflictReport({ events: context.events, health, log }),
  });
};
