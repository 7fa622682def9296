/** The log of packets that policies deny. */
import { POLICY_LOG_GROUP } from "../../../pkg/footprint.ts";
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";
import type { ControllerFactory } from "../context.ts";
import { POLICY_PROGRAMMED, POLICY_STATE } from "../facts.ts";
import { DenyLog } from "./deny-log.ts";
import { logEntriesCounter } from "./log-entries-counter.ts";
import { policyLogController } from "./policy-log.ts";

export const policyLog: ControllerFactory = ({ clock, log, metrics, facts }) => {
  const entries = logEntriesCounter(metrics.registry);
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
