/** The controller for stale flows of Services. */
import { lookAtPlaces } from "../../../pkg/services/nftables/held-frontends.ts";
import { FlowCleaner } from "../../core/drivers/flow-cleaner.ts";
import { answeredBy } from "../../core/drivers/ruleset.ts";
import type { ControllerFactory } from "../context.ts";
import { CONNTRACK_SWEEP, SERVICES_PROGRAMMED } from "../facts.ts";
import { serviceConntrackController } from "./service-conntrack.ts";

export const serviceConntrack: ControllerFactory = async ({ options, clock, log, kernel, facts }) => {
  if (options.serviceProxy === "none") return undefined;
  // Services may have been deleted while no weftd ran. Nothing is programmed before all controllers are made.
  const held = await answeredBy(kernel.nftables, lookAtPlaces()).catch((error) => {
    log.warn({ err: error }, "cannot read the programmed Services; stale flows of deleted ones may stay");
    return [];
  });
  return serviceConntrackController({
    ...{ clock, log, held, cleaner: new FlowCleaner(kernel.connections) },
    committed: facts.of(SERVICES_PROGRAMMED),
    sweep: facts.of(CONNTRACK_SWEEP),
  });
};
