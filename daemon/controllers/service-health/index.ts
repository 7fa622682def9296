/** What answers in kube-proxy's place, made of what weftd has opened. */
import { SERVICES_SOCKET_FILE } from "../../../pkg/footprint.ts";
import { showSign } from "../../core/liveness.ts";
import type { ListenAddress } from "../../flag.ts";
import type { ControllerFactory } from "../context.ts";
import { ServiceHealthController } from "./service-health.ts";

export const serviceHealth: ControllerFactory = ({ options, sources, facts, clock, health, events, log }) =>
  options.serviceProxy === "none"
    ? undefined
    : new ServiceHealthController({
        healthzAddress: orUndefined(options.healthzBindAddress),
        proxyMetricsAddress: orUndefined(options.proxyMetricsBindAddress),
        view: sources.view,
        times: { nowMs: () => clock.nowMs(), dateMs: Date.now },
        showSign: () => showSign(options.runDir, SERVICES_SOCKET_FILE),
        ...{ facts, health, events, log },
      });

function orUndefined(address: ListenAddress | "none"): ListenAddress | undefined {
  return address === "none" ? undefined : address;
}
