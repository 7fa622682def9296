import { Counter, type Registry } from "prom-client";

export function logEntriesCounter(registry: Registry): Counter<"result"> {
  return new Counter({
    name: "weft_policy_log_entries_total",
    help: "Entries of the kernel's log of denied packets: logged, suppressed by the limit of lines, or lost.",
    labelNames: ["result"] as const,
    registers: [registry],
  });
}
