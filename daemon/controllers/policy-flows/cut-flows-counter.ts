import { Counter, type Registry } from "prom-client";

export function cutFlowsCounter(registry: Registry): Counter {
  return new Counter({
    name: "weft_policy_cut_flows_total",
    help: "Flows that weftd deleted because policies do not allow them.",
    registers: [registry],
  });
}
