/** Creates the controller for kube-proxy's health checks and metrics from weftd's parts. */
import { SERVICES_SOCKET_FILE } from "../../../pkg/footprint.ts";
import { showSign } from "../../core/liveness.ts";
import type { ListenAddress } from "../../flag.ts";
import type { ControllerFactory } from "../context.ts";
import { registerConnectionCounters } from "./connection-counters.ts";
import { ServiceHealthController } from "./service-health.ts";

export const serviceHealth: ControllerFactory = (context) => {
  const { options, sources, facts, clock, health, events, log, metrics, kernel } = context;
  if (options.serviceProxy === "none") return undefined;
  if (options.serviceCounters > 0) {
    const { nftables } = kernel;
    const limit = options.serviceCounters;
    registerConnectionCounters({ registry: metrics.registry, nftables, facts, clock, limit });
  }
  return new ServiceHealthController({
    healthzAddress: orUndefined(options.healthzBindAddress),
    proxyMetricsAddress: orUndefined(options.proxyMetricsBindAddress),
    view: sources.view,
    hasNode: options.pods,
    times: { nowMs: () => clock.nowMs(), dateMs: Date.now },
    showSign: () => showSign(options.runDir, SERVICES_SOCKET_FILE),
    ...{ facts, health, events, log },
  });
};

function orUndefined(address: ListenAddress | "none"): ListenAddress | undefined {
  return address === "none" ? undefined : address;
}
