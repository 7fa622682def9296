/** The controller for tracked connections of ended pods. */
import { CachedAttachments } from "../../../pkg/attachment/cached-attachments.ts";
import { DEFAULT_HOST_LOCAL_DIR, MARK_START } from "../../../pkg/footprint.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import type { Prefix } from "../../../pkg/ip/prefix.ts";
import { readReservations } from "../../../pkg/ipam/reservation.ts";
import { isOfContainer, parseOwner } from "../../../pkg/kernel/owner.ts";
import { RTM_DELLINK } from "../../../pkg/netlink/link.ts";
import { isSystemError } from "../../../pkg/sys/errors.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Runnable } from "../../core/controller.ts";
import type { Topic } from "../../core/topic.ts";
import type { ControllerFactory } from "../context.ts";
import { FORMER_FLOWS, NODE_CHOICE } from "../facts.ts";
import { FormerFlows } from "./former-flows.ts";

/** A failed cleaning is repeated after this time. ADD cleans by itself meanwhile. */
const RETRY_MS = 10_000;

/** When to look again at an attachment that was too young, in milliseconds. */
const LATER_MS = 2500;

export const formerFlows: ControllerFactory = ({ options, cluster, clock, log, kernel, facts, files }) => {
  if (!options.pods || cluster.policies === undefined) return undefined;
  const flows = new FormerFlows({ connections: kernel.connections, clock, log });
  facts.of(FORMER_FLOWS).publish(flows);
  const choice = facts.of(NODE_CHOICE);
  return formerFlowsController(flows, {
    topic: choice,
    subnets: () => choice.value?.node.subnets,
    used: () => usedAddresses(files),
  });
};

/** The pods' subnets of this node, and the addresses that pods use. */
export interface PodAddresses {
  /** Notifies of changed subnets. */
  readonly topic: Topic;
  /** Undefined while they are unknown. */
  readonly subnets: () => readonly Prefix[] | undefined;
  /** Throws `SystemError`. */
  readonly used: () => readonly Address[];
}

export function formerFlowsController(
  flows: Pick<FormerFlows, "hasAttachments" | "compare" | "survey">,
  { topic, subnets, used }: PodAddresses,
): Runnable {
  let isSurveyed = false;
  return {
    name: "former-flows",
    subscriptions: {
      topics: [topic],
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
      const known = subnets();
      if (isSurveyed || known === undefined) return;
      await flows.survey(known, used());
      isSurveyed = true;
    },
  };
}

/**
 * The addresses of running pods: those that the runtime has cached, and those that host-local has reserved, also for an
 * ADD that has not ended.
 */
function usedAddresses(files: Pick<Files, "readDirectory" | "readFile" | "status">): Address[] {
  const reserved = networksIn(files).flatMap((network) =>
    readReservations(files, `${DEFAULT_HOST_LOCAL_DIR}/${network}`).map(({ address }) => address),
  );
  const cached = [...new CachedAttachments(files).read().values()].flatMap(({ result }) =>
    result.ips.map(({ address }) => address.address),
  );
  return [...reserved, ...cached];
}

function networksIn(files: Pick<Files, "readDirectory">): readonly string[] {
  try {
    return files.readDirectory(DEFAULT_HOST_LOCAL_DIR);
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return [];
    throw error;
  }
}

/** True also for a mark that was cut and may be the attachment's. */
function isMarkOf(mark: string, containerId: string, ifName: string): boolean {
  const owner = parseOwner(mark);
  if (owner !== undefined) return owner.containerId === containerId && owner.ifName === ifName;
  return mark.startsWith(MARK_START) && isOfContainer(mark, { containerId }, "") !== false;
}
