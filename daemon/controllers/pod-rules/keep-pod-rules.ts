/** Runs the controller for the rules of running pods: what triggers a comparison, and how its outcome is reported. */
import { CachedAttachments } from "../../../pkg/attachment/cached-attachments.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { BaseChains } from "../../../pkg/foreign/base-chains.ts";
import { describeOwner } from "../../../pkg/kernel/owner.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { ContentionError, type Gate, type RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { OwnedPart, PodRules } from "../../../pkg/tables/pod-rules.ts";
import type { Runnable } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import type { LastReports } from "../../core/last-reports.ts";
import { isTableInUse } from "../../core/legacy-tables.ts";
import type { Logger } from "../../core/log.ts";
import type { LoopOptions } from "../../core/loop.ts";
import { forgetEarlierConnections } from "./earlier-connections.ts";
import { RestoredPodRules } from "./pod-rules.ts";
import { NetlinkPodRules } from "./pod-rules-kernel.ts";

export interface PodRulesSide {
  readonly clock: Clock;
  readonly netlink: Pick<EventedNetlink, "dump">;
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly bases: BaseChains;
  readonly files: Files;
  readonly gate: Gate & Pick<RepairGate, "nextMs">;
  readonly health: Pick<Health, "warns">;
  readonly reports: Pick<LastReports, "isNew">;
  readonly log: Logger;
  readonly backoff?: LoopOptions["backoff"];
}

const TOPIC = "pods' rules";
const FAILURE = "comparison of pods' rules";

/** Returns the controller. Its first pass is a comparison. */
export function podRulesController(side: PodRulesSide): Runnable {
  const { clock, netlink, nftables, bases, files, gate, health, reports, log } = side;
  const rules = new RestoredPodRules({
    clock,
    gate,
    kernel: new NetlinkPodRules(netlink, nftables, bases),
    cached: new CachedAttachments(files),
    usesLegacyIptables: () => ([4, 6] as const).some((family) => isTableInUse(files, family, "filter")),
    onRestored: (restored, wanted) => tellRestored(side, restored, wanted),
    onOrphansRemoved: (owners) =>
      log.info({ attachments: owners.map(describeOwner) }, "removed rules of pods that ended while no weftd ran"),
    onMissing: (reasons) => {
      health.warns(TOPIC, reasons);
      if (reports.isNew(TOPIC, reasons.join("\n")) && reasons.length > 0)
        log.warn({ reasons }, "rules of running pods are missing");
    },
  });
  return {
    name: "pod-rules",
    subscriptions: { onRuleset: () => ({ delayMs: rules.delayMs, isPatient: true }), atStart: true },
    retry: {
      promisingMs: () => gate.nextMs(),
      pauseMs: () => rules.delayMs,
      // Only a successful pass resets the back-off, because other programs commit all the time.
      patienceMs: Number.POSITIVE_INFINITY,
      ...(side.backoff && { backoff: side.backoff }),
    },
    run: async (pass) => {
      await rules.pass();
      reports.isNew(FAILURE, "");
      // A pass answers all pending requests, including those for later.
      pass.later("comparison", rules.dueInMs);
    },
    failed: (error, retryMs) => {
      const message = error instanceof Error ? error.message : String(error);
      health.warns(TOPIC, [message]);
      // The message contains the time of the next attempt, which changes.
      const cause = error instanceof ContentionError ? error.name : message;
      if (reports.isNew(FAILURE, cause))
        log.warn({ err: error, retryMs: Math.round(retryMs) }, "cannot compare rules of running pods");
    },
  };
}

async function tellRestored(
  { netlink, nftables, log }: PodRulesSide,
  restored: readonly OwnedPart[],
  wanted: readonly PodRules[],
): Promise<void> {
  const mappings = wanted.flatMap(({ ports }) => ports.mappings);
  await forgetEarlierConnections(netlink, nftables, mappings).catch((error) =>
    log.warn(
      { err: error },
      "cannot delete UDP connections tracked while host ports were unmapped; they expire by timeout",
    ),
  );
  const attachments = new Set(restored.map(({ owner }) => owner)).size;
  const parts = [...new Set(restored.map(({ part }) => part))];
  log.info({ attachments, parts }, "restored rules of running pods that another program had removed");
}
