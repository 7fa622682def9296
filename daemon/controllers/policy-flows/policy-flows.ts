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
import type { Flow } from "../../../pkg/kernel/flow.ts";
import { FlowJudge } from "../../../pkg/policy/flow-judge.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Pass, Runnable } from "../../core/controller.ts";
import type { FlowCleaner } from "../../core/drivers/flow-cleaner.ts";
import type { Logger } from "../../core/log.ts";
import { type Fact, Topic } from "../../core/topic.ts";
import type { PolicyState, ProgrammedPolicies } from "../facts.ts";
import type { CutConnections } from "./cut-connections.ts";
import { type DueAddresses, DueFlows } from "./due-flows.ts";
import { flowSearches } from "./flow-searches.ts";
import type { StartTimes } from "./start-times.ts";

/** Joins simultaneous changes in one pass. The kernel has tracked the last flows that the old rules allowed by then. */
const SETTLING_MS = 10;

/** The time from the beginning of a pass to the beginning of the next. */
const PACE_MS = 500;

/**
 * Without the table, the kernel may not track connections at all (no rule needs it). It then tracks them from the first
 * packet after the repair on, which may come late. For this time, weftd looks for such connections every
 * `FOLLOW_EVERY_MS`.
 */
const FOLLOWED_MS = 30_000;
const FOLLOW_EVERY_MS = 2000;

/** weftd learns of a removed table from the kernel's announcement, and may be busy when that arrives. */
const WINDOW_MARGIN_MS = 1000;

export interface PolicyFlowsParts {
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Pick<Logger, "info">;
  readonly cleaner: Pick<FlowCleaner, "clean">;
  readonly cutConnections: Pick<CutConnections, "add" | "enter">;
  readonly startTimes: Pick<StartTimes, "look" | "beganBetween">;
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

/** A time without the table, in milliseconds of the clock. */
interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

export function policyFlowsController(parts: PolicyFlowsParts): Runnable {
  const { clock, log, cleaner, cutConnections, startTimes, cutsEstablished, state, programmed, ownAddresses, count } =
    parts;
  const flows = new DueFlows();
  const due = new Topic("policies");
  let beganMs = Number.NEGATIVE_INFINITY;
  let isFirst = true;
  let window: Window | undefined;

  const unsubscribe = programmed.subscribe(() => {
    const said = programmed.value;
    if (said === undefined || state.value?.mode !== "enforce") return;
    startTimes.look();
    const { changes, hasWritten, damagedSinceMs } = said;
    if (cutsEstablished && changes !== undefined) flows.addChanges(changes);
    // An earlier weftd may have programmed other policies, or have ended before it deleted flows.
    if (cutsEstablished && changes === undefined && (hasWritten || isFirst)) flows.addAll();
    if (damagedSinceMs !== undefined) {
      const fromMs = Math.min(damagedSinceMs - WINDOW_MARGIN_MS, window?.fromMs ?? Number.POSITIVE_INFINITY);
      window = { fromMs, toMs: clock.nowMs() };
    }
    isFirst = false;
    if (!flows.isEmpty || damagedSinceMs !== undefined)
      due.notify({ delayMs: Math.max(SETTLING_MS, beganMs + PACE_MS - clock.nowMs()) });
  });

  /** Returns a function that says whether a flow is one of a connection that may have begun without the table. */
  const inWindow = ({ fromMs, toMs }: Window) => {
    const beganWithout = startTimes.beganBetween(fromMs, toMs);
    const trackedLater = startTimes.beganBetween(fromMs, toMs + FOLLOWED_MS);
    return (flow: Flow) => beganWithout(flow) || (flow.isPickedUp && trackedLater(flow));
  };

  const clean = async (
    family: Family,
    addresses: DueAddresses,
    beganInWindow: ((flow: Flow) => boolean) | undefined,
    judge: FlowJudge<true>,
  ) => {
    let deleted = 0;
    try {
      const searches = flowSearches({
        ...{ family, addresses, beganInWindow },
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

  const run = async ({ later }: Pass) => {
    const policies = programmed.value;
    if (policies === undefined) return;
    beganMs = clock.nowMs();
    const addresses = flows.take();
    const looked = window;
    const attempts = new Attempts();
    try {
      const own = await ownAddresses();
      const judge = new FlowJudge<true>((question) => (policies.isAllowed(question) ? undefined : true), own);
      const beganInWindow = looked && inWindow(looked);
      for (const family of [4, 6] as const) await attempts.try(() => clean(family, addresses, beganInWindow, judge));
      attempts.end();
    } catch (error) {
      flows.restore(addresses);
      throw error;
    }
    if (looked === undefined || looked !== window) return;
    if (beganMs < looked.toMs + FOLLOWED_MS) later("connections that began without the table", FOLLOW_EVERY_MS);
    else window = undefined;
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
