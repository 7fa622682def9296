/** Maintains routes from a host outside the cluster to the nodes' pods. */
import { isDeepStrictEqual } from "node:util";
import type { Prefix } from "../../../pkg/ip/prefix.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../../pkg/netlink/address.ts";
import { RTM_DELLINK, RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../../../pkg/netlink/route.ts";
import { requestStep, type StepPlan } from "../../../pkg/reconcile/plan-step.ts";
import { planRoutes } from "../../../pkg/reconcile/route-plan.ts";
import type { Controller, Pass, PlanOutcome, Subscriptions } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import { Topic } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import type { NodeView } from "../../sources/node-view.ts";
import type { ServiceSource } from "../../sources/service-source.ts";
import { type OutsideCluster, outsideWays } from "./ways.ts";

export interface OutsideParts {
  readonly options: Pick<Options, "nodeName" | "via">;
  readonly view: Pick<NodeView, "own" | "peers" | "isSynced">;
  readonly nodes: Topic;
  readonly cidrs: Pick<ServiceSource["cidrs"], "list" | "subscribe">;
  readonly health: Pick<Health, "holds" | "fails" | "warns">;
  readonly log: Logger;
}

/** Covers changes that the kernel has not announced. */
const FULL_COMPARISON_MS = 60_000;

const CHANGES: ReadonlySet<number> = new Set(
  [RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE].map(({ type }) => type),
);

export class OutsideController implements Controller<OutsideCluster, KernelSnapshot> {
  readonly name = "outside";
  readonly subscriptions: Subscriptions;
  readonly #parts: OutsideParts;
  readonly #unsubscribe: () => void;
  readonly #reports = new LastReports();
  /** The cluster as the last pass has programmed it. A missing route now means that another program removed it. */
  #wanted: OutsideCluster | undefined;

  constructor(parts: OutsideParts) {
    const { nodes, cidrs, health } = parts;
    this.#parts = parts;
    const ranges = new Topic("Service ranges");
    this.#unsubscribe = cidrs.subscribe(({ changes }) => {
      if (changes.length > 0) ranges.notify();
    });
    this.subscriptions = {
      topics: [nodes, ranges],
      reasonFor: ({ type }: Message) => (CHANGES.has(type) ? { reason: "kernel", isPatient: true } : undefined),
      intervalMs: FULL_COMPARISON_MS,
    };
    for (const condition of ["subnet", "conflist"] as const)
      health.holds(condition, "this host runs no pods (--no-pods)");
  }

  /** Throws if this host is a node after all: the routes would divert packets to its own pods. */
  desired(): OutsideCluster | undefined {
    const { options, view, cidrs } = this.#parts;
    if (!view.isSynced) return undefined;
    if (view.own !== undefined) {
      throw new Error(
        `there is a Node ${options.nodeName}, but --no-pods is only for hosts that are not nodes: ` +
          "remove the flag, or give this host another name with --node-name",
      );
    }
    const serviceRanges: readonly Prefix[] = cidrs.list().flatMap(({ value }) => value.cidrs);
    return { nodes: view.peers, via: options.via, serviceRanges };
  }

  async observe(kernel: Parameters<Controller<OutsideCluster, KernelSnapshot>["observe"]>[0]): Promise<KernelSnapshot> {
    return (await kernel.snapshot()).state;
  }

  plan(desired: OutsideCluster, state: KernelSnapshot): StepPlan {
    const { add, remove, conflicts } = planRoutes(outsideWays(desired, state).routes, state.routes, new Set());
    const isRepair = isDeepStrictEqual(this.#wanted, desired);
    return { steps: [...add, ...remove].map((request) => requestStep(request, isRepair)), conflicts };
  }

  settled(
    { reasons }: Pass,
    { desired, observed, conflicts, done }: PlanOutcome<OutsideCluster, KernelSnapshot>,
  ): void {
    const { health, log } = this.#parts;
    this.#wanted = desired;
    const warnings = [...outsideWays(desired, observed).problems, ...conflicts];
    health.warns("outside", warnings);
    if (this.#reports.isNew("outside", warnings.join("\n")) && warnings.length > 0)
      log.warn({ warnings }, "some pods are unreachable from this host");
    if (done.length > 0) log.info({ reasons, routes: done.map(({ text }) => text) }, "routes to pods changed");
  }

  succeeded(): void {
    const { health, view } = this.#parts;
    if (view.isSynced) health.holds("reconcile", `${view.peers.length} nodes known`);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    health.fails("reconcile", error instanceof Error ? error.message : String(error));
    log.error({ err: error, retryMs: Math.round(retryMs) }, "routes to pods are not programmed");
  }

  stop(): void {
    this.#unsubscribe();
  }
}
