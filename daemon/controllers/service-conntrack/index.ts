/** Flows of Services. */
import type { ControllerFactory } from "../context.ts";
import { CONNTRACK_SWEEP, SERVICES_PROGRAMMED } from "../facts.ts";
import { FlowCleaner } from "./flow-cleaner.ts";
import { serviceConntrackController } from "./service-conntrack.ts";

export const serviceConntrack: ControllerFactory = ({ options, clock, log, kernel, facts }) =>
  options.serviceProxy === "none"
    ? undefined
    : serviceConntrackController({
        ...{ clock, log, cleaner: new FlowCleaner(kernel.connections) },
        committed: facts.of(SERVICES_PROGRAMMED),
        sweep: facts.of(CONNTRACK_SWEEP),
      });
