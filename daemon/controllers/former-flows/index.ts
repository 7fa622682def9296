/** The controller for tracked connections of ended pods. */
import { MARK_START } from "../../../pkg/footprint.ts";
import { isOfContainer, parseOwner } from "../../../pkg/kernel/owner.ts";
import { RTM_DELLINK } from "../../../pkg/netlink/link.ts";
import type { Runnable } from "../../core/controller.ts";
import type { ControllerFactory } from "../context.ts";
import { FORMER_FLOWS } from "../facts.ts";
import { FormerFlows } from "./former-flows.ts";

/** A failed cleaning is repeated after this time. ADD cleans by itself meanwhile. */
const RETRY_MS = 10_000;

/** When to look again at an attachment that was too young, in milliseconds. */
const LATER_MS = 2500;

export const formerFlows: ControllerFactory = ({ options, cluster, clock, log, kernel, facts }) => {
  if (!options.pods || cluster.policies === undefined) return undefined;
  const flows = new FormerFlows({ connections: kernel.connections, clock, log });
  facts.of(FORMER_FLOWS).publish(flows);
  return formerFlowsController(flows);
};

export function formerFlowsController(flows: Pick<FormerFlows, "hasAttachments" | "compare">): Runnable {
  return {
    name: "former-flows",
    subscriptions: {
      reasonFor: ({ type }) =>
        type === RTM_DELLINK.type && flows.hasAttachments ? { reason: "a link is gone", isPatient: true } : undefined,
    },
    retry: { pauseMs: () => RETRY_MS },
    async run({ kernel, later }) {
      const { state } = await kernel.snapshot();
      const marks = state.links.flatMap(({ alias }) => alias ?? []);
      const isAll = await flows.compare((containerId, ifName) =>
        marks.some((mark) => isMarkOf(mark, containerId, ifName)),
      );
      if (!isAll) later("an attachment is young", LATER_MS);
    },
  };
}

/** True also for a mark that was cut and may be the attachment's. */
function isMarkOf(mark: string, containerId: string, ifName: string): boolean {
  const owner = parseOwner(mark);
  if (owner !== undefined) return owner.containerId === containerId && owner.ifName === ifName;
  return mark.startsWith(MARK_START) && isOfContainer(mark, { containerId }, "") !== false;
}
