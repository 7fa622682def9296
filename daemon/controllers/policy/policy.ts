/**
 * Programs the policies of this node's pods. A change of a policy, Namespace or Pod becomes a few elements. Everything is
 * compared with the kernel at the start, after any event that makes the kernel's state uncertain, and periodically.
 *
 * Until everything is listed, the kernel keeps what it has, so a restart of weftd opens and closes nothing. When weftd
 * stops, the table stays.
 */
import type { Registry } from "prom-client";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import type { Judgement, Question } from "../../../pkg/policy/judgement.ts";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import { ContentionError, type RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Pass, Runnable, Subscriptions } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import { type Facts, Topic } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import type { ClusterSide } from "../../sources/cluster-side.ts";
import type { NodeView } from "../../sources/node-view.ts";
import type { PolicySource } from "../../sources/policy-source.ts";
import { POLICY_PROGRAMMED, POLICY_STATE } from "../facts.ts";
import type { LogProbe } from "./log-probe.ts";
import { type ModeChoice, policyMode } from "./mode.ts";
import type { PodInstaller } from "./pod-installer.ts";
import { PolicyFeed } from "./policy-feed.ts";
import { PolicyInstaller } from "./policy-installer.ts";
import { POLICY_PLACE, type PolicyProgrammer } from "./policy-programmer.ts";
import { PolicyReports } from "./policy-reports.ts";
import { PolicySync, type SyncReport } from "./policy-sync.ts";
import type { RunningPods } from "./running-pods.ts";

/** The topic of changes of policies, Namespaces and Pods since the last pass. */
const CHANGE = "policies";

/** Changes within this time after a failed pass join its retry, because each retry compares everything. */
const PATIENCE_MS = 1000;

export interface PolicyParts {
  readonly options: Pick<Options, "networkPolicy" | "policyFail">;
  readonly map: PolicyMap;
  readonly source: PolicySource;
  readonly announcer: Pick<ClusterSide["announcer"], "recordPolicyMode">;
  readonly view: Pick<NodeView, "own" | "peers" | "isSynced">;
  readonly nodes: Topic;
  readonly programmer: Pick<PolicyProgrammer, "compare" | "change" | "remove" | "counts">;
  /** The attachments of pods whose statuses have no addresses yet. */
  readonly running: Pick<RunningPods, "attachments">;
  readonly logProbe: Pick<LogProbe, "hasLog" | "last">;
  readonly gate: Pick<RepairGate, "nextMs" | "assertNothingRests">;
  readonly facts: Facts;
  readonly health: Pick<Health, "holds" | "fails" | "warns">;
  readonly registry: Registry;
  /** Called first when the controller stops. */
  readonly onStop?: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class PolicyController implements Runnable {
  readonly name = "policies";
  readonly subscriptions: Subscriptions;
  readonly retry: NonNullable<Runnable["retry"]>;
  readonly #parts: PolicyParts;
  readonly #feed: PolicyFeed;
  readonly #sync: PolicySync;
  readonly #installer: PolicyInstaller;
  readonly #change = new Topic(CHANGE);
  readonly #reports: PolicyReports;
  #choice: ModeChoice | undefined;
  #knowsRunning = false;
  /** The arrival of the oldest change of the running sync. */
  #sinceMs: number | undefined;
  /** The end of the last sync; syncs run one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: PolicyParts) {
    const { source, map, clock, log, nodes, gate, health, programmer } = parts;
    this.#parts = parts;
    this.#feed = new PolicyFeed({ ...{ source, map, clock }, onChange: () => this.#changed() });
    this.#sync = new PolicySync({
      ...{ map, programmer, clock, log },
      settings: async () => ({
        isAudit: this.#choice?.mode === "audit",
        hasLog: await parts.logProbe.hasLog(),
      }),
      onSync: (report) => this.#synced(report),
    });
    this.#reports = new PolicyReports({
      ...{ map, programmer, sync: this.#sync, clock, log, registry: parts.registry },
      state: () => ({ ...this.#choice, isSynced: this.#feed.isSynced, warnings: this.#warnings() }),
    });
    this.#installer = new PolicyInstaller({
      ...{ source, feed: this.#feed, map, clock },
      isReady: () => this.#feed.isSynced && this.#choice !== undefined,
      program: (addresses) => this.#programAt(addresses),
    });
    this.subscriptions = {
      topics: [this.#change, nodes],
      ownTable: {
        place: POLICY_PLACE,
        onChange: () => {
          this.#sync.damaged();
          return { isPatient: true };
        },
      },
      atStart: true,
    };
    this.retry = { promisingMs: () => gate.nextMs(), patienceMs: PATIENCE_MS };
    health.fails("policies", "not tried yet");
    source.start();
  }

  get installer(): PodInstaller {
    return this.#installer;
  }

  get pages(): NonNullable<Runnable["pages"]> {
    return this.#reports.pages;
  }

  get asyncPages(): NonNullable<Runnable["asyncPages"]> {
    return this.#reports.asyncPages;
  }

  async run(pass: Pass): Promise<void> {
    const { health, gate } = this.#parts;
    health.warns("policies", this.#warnings());
    if (!this.#decide()) return health.fails("policies", "the Nodes are not listed yet");
    if (this.#feed.knowsPolicies) this.#publishState();
    if (!this.#feed.isSynced) return health.fails("policies", this.#feed.missing().join("; "));
    try {
      await this.#program(pass.reasons);
    } finally {
      for (const [reason, delayMs] of this.#sync.doubts.upcoming()) pass.later(reason, delayMs);
    }
    try {
      gate.assertNothingRests();
    } catch (error) {
      // Passes on the fast path may run before the retry of this one.
      if (error instanceof ContentionError) this.#sync.doubts.restsUntil(error.untilMs);
      throw error;
    }
    if (!this.#sync.doubts.isContended) this.#isProgrammed();
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    const reason = error instanceof Error ? error.message : String(error);
    health.fails("policies", reason);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "policies are not programmed");
  }

  async stop(): Promise<void> {
    await this.#parts.onStop?.();
    this.#feed.stop();
    await this.#turn;
  }

  async debug(): Promise<{ readonly policies: unknown }> {
    const { map } = this.#parts;
    const isSynced = this.#feed.isSynced;
    return { policies: { ...this.#choice, isSynced, doubts: this.#sync.doubts.current, counts: map.counts() } };
  }

  /** Decides the mode once. False while the Nodes are unknown. */
  #decide(): boolean {
    const { options, view, announcer, log } = this.#parts;
    if (this.#choice !== undefined) return true;
    if (options.networkPolicy === undefined && !view.isSynced) return false;
    const choice = policyMode(options.networkPolicy, view.own, view.peers);
    this.#choice = choice;
    log.info({ ...choice }, "mode of NetworkPolicies decided");
    announcer.recordPolicyMode(choice.mode === "off" ? undefined : choice.mode);
    this.#installer.changed();
    return true;
  }

  #publishState(): void {
    const { map, options, facts } = this.#parts;
    const { mode = "off" } = this.#choice ?? {};
    const { hasPolicies } = map;
    // Audit must not keep a pod from starting.
    const fail = options.policyFail ?? (hasPolicies && mode === "enforce" ? "closed" : "open");
    facts.of(POLICY_STATE).publish({ mode, hasPolicies, fail });
  }

  #changed(): void {
    this.#installer.changed();
    this.#change.notify({ isPatient: true });
  }

  /** Programs all pending changes, after the syncs that run or wait. */
  #program(reasons: readonly string[]): Promise<void> {
    const turn = this.#turn.then(() => this.#syncNow(reasons));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #syncNow(reasons: readonly string[]): Promise<void> {
    this.#learnRunningPods();
    const heard = this.#feed.take();
    this.#sinceMs = heard.sinceMs;
    try {
      await this.#sync.sync(reasons);
    } catch (error) {
      this.#feed.giveBack(heard);
      throw error;
    } finally {
      this.#sinceMs = undefined;
    }
  }

  async #programAt(addresses: readonly Address[]): Promise<boolean> {
    try {
      await this.#program(["ADD"]);
    } catch (error) {
      this.#change.notify();
      throw error;
    }
    return this.#sync.isSubject(addresses);
  }

  /**
   * Adds the addresses of pods that run already but whose statuses lack them, once, when the pods are listed. Without
   * these, a restart between ADD and the status would open the pods.
   */
  #learnRunningPods(): void {
    const { map, running, log } = this.#parts;
    if (this.#knowsRunning || !this.#feed.knowsPods) return;
    this.#knowsRunning = true;
    const attached = [...running.attachments(), ...this.#installer.takeRecent()];
    for (const { key, uid, addresses } of attached) map.attach(key, uid || (this.#feed.uidOf(key) ?? ""), addresses);
    if (attached.length > 0)
      log.info(
        { pods: attached.map(({ key }) => key) },
        "pods without a reported address: used that of their attachment",
      );
  }

  #synced(report: SyncReport): void {
    const { facts, map } = this.#parts;
    const { sent, endedMs, changes, damagedSinceMs } = report;
    this.#reports.synced(report, this.#sinceMs === undefined ? undefined : endedMs - this.#sinceMs);
    if (sent === undefined) return;
    const judge = (question: Question) => map.judge(question);
    facts.of(POLICY_PROGRAMMED).publish({
      ...{ changes, hasWritten: sent.transactions > 0, damagedSinceMs, judge },
      isAllowed: (question) => isAllowed(judge(question)),
      profile: (number) => this.#sync.tables.profiles.get(number),
    });
  }

  #isProgrammed(): void {
    const { health, map } = this.#parts;
    const { policies, clusterPolicies, isolatedPods } = map.counts();
    const what = policies + clusterPolicies === 0 ? "the cluster has no policies" : `${isolatedPods} pods are isolated`;
    health.holds("policies", `${this.#choice?.mode}: ${what}`);
  }

  #warnings(): readonly string[] {
    const warnings = this.#feed.warnings();
    if (!this.#sync.hasTable || this.#parts.logProbe.last !== false) return warnings;
    return [
      ...warnings,
      "the kernel lacks nfnetlink_log (CONFIG_NETFILTER_NETLINK_LOG): denied packets are counted, but not logged",
    ];
  }
}

function isAllowed({ egress, ingress }: Judgement): boolean {
  return [egress, ingress].every((side) => side === undefined || side.verdict === "allow" || side.isAudited);
}
