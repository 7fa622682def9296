/** The log of packets that policies deny. */
import { Counter } from "prom-client";
import { POLICY_LOG_GROUP } from "../../../pkg/footprint.ts";
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";
import type { ControllerFactory } from "../context.ts";
import { POLICY_PROGRAMMED, POLICY_STATE } from "../facts.ts";
import { DenyLog } from "./deny-log.ts";
import { policyLogController } from "./policy-log.ts";

export const policyLog: ControllerFactory = ({ clock, log, metrics, facts }) => {
  const entries = new Counter({
    name: "weft_policy_log_entries_total",
    help: "Entries of the kernel's log of denied packets: logged, suppressed by the limit of lines, or lost.",
    labelNames: ["result"] as const,
    registers: [metrics.registry],
  });
  const state = facts.of(POLICY_STATE);
  const programmed = facts.of(POLICY_PROGRAMMED);
  const denyLog = new DenyLog({
    ...{ clock, log, programmed: () => programmed.value, isAudit: () => state.value?.mode === "audit" },
    count: (result) => entries.inc({ result }),
  });
  return policyLogController({
    ...{ log, state, denyLog, group: POLICY_LOG_GROUP },
    open: () => openEventNetlink(NETLINK_NETFILTER),
  });
};
