/** Adapts the checks of the backends (pkg/backend/<name>) to doctor's facts. */
import { BACKENDS } from "../../../pkg/backend/backends.ts";
import type { BackendCheck } from "../../../pkg/backend/inspection.ts";
import type { Check } from "../finding.ts";
import { obstacleTo } from "./firewall.ts";

export const backendChecks: readonly Check[] = BACKENDS.flatMap(({ inspection }) => inspection.checks).map(asCheck);

function asCheck(check: BackendCheck): Check {
  return {
    ...check,
    judge: (facts) =>
      check.judge({
        ...{ observed: facts.observed, desired: facts.desired, peers: facts.table?.peers ?? [] },
        obstacleTo: (packet, accept) => obstacleTo(facts, packet, accept),
      }),
  };
}
