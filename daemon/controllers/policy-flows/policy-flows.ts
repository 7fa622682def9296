/**
 * Deletes flows that policies do not allow, as the kernel would judge their first packets. The kernel judges only new
 * connections, so flows that began earlier continue:
 * - With --policy-cut-established, weftd deletes them after each change of policies or pods.
 * - Flows that began while another program had removed the policies' table are deleted after the repair in any case.
 *
 * The next packet of a deleted flow is that of a new connection, which the kernel judges and drops. TCP connections are
 * also entered into a table, so that they cannot continue as connections in the other direction (`cut-table.ts`).
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { Address, Family } from "../../../pkg/ip/address.ts";
import { FlowJudge } from "../../../pkg/policy/flow-judge.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Runnable } from "../../core/controller.ts";
import type { FlowCleaner } from "../../core/drivers/flow-cleaner.ts";
import type { Logger } from "../../core/log.ts";
import { type Fact, Topic } from "../../core/topic.ts";
import type { PolicyState, ProgrammedPolicies } from "../facts.ts";
import type { CutConnections } from "./cut-connections.ts";
import { DueFlows, type DueWork } from "./due-flows.ts";
import { flowSearches } from "./flow-searches.ts";
import type { StartTimes } from "./start-times.ts";

/** Changes of one moment share a pass, and flows that the old rules allowed are tracked by then. */
const SETTLING_MS = 10;

/** The time from the beginning of a pass to the beginning of the next. */
const PACE_MS = 500;

/** weftd learns of a removed table from the kernel's announcement, and may be busy when that arrives. */
const WINDOW_MARGIN_MS = 1000;

export interface PolicyFlowsParts {
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Pick<Logger, "info">;
  readonly cleaner: Pick<FlowCleaner, "clean">;
  readonly cutConnections: Pick<CutConnections, "add" | "enter">;
  readonly startTimes: Pick<StartTimes, "look" | "beganAfter">;
  /** --policy-cut-established */
  readonly cutsEstablished: boolean;
  readonly state: Fact<PolicyState>;
  readonly programmed: Fact<ProgrammedPolicies>;
  /** Returns this node's addresses. */
  ownAddresses(): Promise<readonly Address[]>;
  /** Counts deleted flows. */
  count(flows: number): void;
  readonly asyncPages?: Runnable["asyncPages"];
}

export function policyFlowsController(parts: PolicyFlowsParts): Runnable {
  const { clock, log, cleaner, cutConnections, startTimes, cutsEstablished, state, programmed, ownAddresses, count } =
    parts;
  const flows = new DueFlows();
  const due = new Topic("policies");
  let beganMs = Number.NEGATIVE_INFINITY;
  let isFirst = true;

  const unsubscribe = programmed.subscribe(() => {
    const said = programmed.value;
    if (said === undefined || state.value?.mode !== "enforce") return;
    startTimes.look();
    const { changes, hasWritten, damagedSinceMs } = said;
    if (cutsEstablished && changes !== undefined) flows.addChanges(changes);
    // An earlier weftd may have programmed other policies, or have ended before it deleted flows.
    if (cutsEstablished && changes === undefined && (hasWritten || isFirst)) flows.addAll();
    if (damagedSinceMs !== undefined) flows.addWindow(damagedSinceMs - WINDOW_MARGIN_MS);
    isFirst = false;
    if (!flows.isEmpty) due.notify({ delayMs: Math.max(SETTLING_MS, beganMs + PACE_MS - clock.nowMs()) });
  });

  const clean = async (family: Family, work: DueWork, judge: FlowJudge<true>) => {
    const beganInWindow = work.windowMs === undefined ? () => false : startTimes.beganAfter(work.windowMs);
    let deleted = 0;
    try {
      const searches = flowSearches({
        ...{ family, work, beganInWindow },
        isDenied: (flow) => judge.denial(flow) !== undefined,
        onMatch: (flow) => cutConnections.add(flow),
        beforeDeletion: () => cutConnections.enter(),
      });
      for (const search of searches) deleted += await cleaner.clean(search);
    } finally {
      count(deleted);
      if (deleted > 0) log.info({ family, deleted }, "cut flows that policies do not allow");
    }
  };

  const run = async () => {
    const policies = programmed.value;
    if (policies === undefined) return;
    beganMs = clock.nowMs();
    const work = flows.take();
    const attempts = new Attempts();
    try {
      const own = await ownAddresses();
      const judge = new FlowJudge<true>((question) => (policies.isAllowed(question) ? undefined : true), own);
      for (const family of [4, 6] as const) await attempts.try(() => clean(family, work, judge));
      attempts.end();
    } catch (error) {
      flows.restore(work);
      throw error;
    }
  };

  return {
    name: "policy-flows",
    subscriptions: { topics: [due] },
    retry: { pauseMs: () => PACE_MS },
    run,
    ...(parts.asyncPages && { asyncPages: parts.asyncPages }),
    stop: unsubscribe,
  };
}
