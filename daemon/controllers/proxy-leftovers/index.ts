/** Creates the controller that removes kube-proxy's leftovers from weftd's parts. */
import { execute } from "../../core/drivers/execute.ts";
import type { ControllerFactory } from "../context.ts";
import { ProxyLeftoversController } from "./proxy-leftovers.ts";

export const proxyLeftovers: ControllerFactory = ({ options, facts, health, events, log, files, kernel, clock }) =>
  options.serviceProxy === "none"
    ? undefined
    : new ProxyLeftoversController({
        ...{ facts, health, events, log, files, execute, clock },
        nftables: kernel.nftables,
      });
