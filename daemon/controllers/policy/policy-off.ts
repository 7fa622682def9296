/** Removes what an earlier weftd has left of policies, on a node without them. */
import type { Runnable } from "../../core/controller.ts";
import type { Logger } from "../../core/log.ts";
import type { Facts } from "../../core/topic.ts";
import type { ClusterSide } from "../../sources/cluster-side.ts";
import { POLICY_STATE } from "../facts.ts";
import { offPage } from "./policy-pages.ts";
import type { PolicyProgrammer } from "./policy-programmer.ts";

export interface PolicyOffParts {
  /** Why there are no policies: "flag", or a sentence. */
  readonly reason: string;
  readonly programmer: Pick<PolicyProgrammer, "remove">;
  readonly announcer: Pick<ClusterSide["announcer"], "recordPolicyMode">;
  readonly facts: Facts;
  readonly log: Pick<Logger, "info">;
}

export function policyOff({ reason, programmer, announcer, facts, log }: PolicyOffParts): Runnable {
  announcer.recordPolicyMode(undefined);
  facts.of(POLICY_STATE).publish({ mode: "off", hasPolicies: false, fail: "open" });
  return {
    name: "policies",
    subscriptions: { atStart: true },
    run: async () => {
      const { requests } = await programmer.remove();
      if (requests > 0) log.info({ reason }, "policies are off; removed their tables");
    },
    pages: { policies: () => [`${JSON.stringify(offPage(reason))}\n`] },
  };
}
