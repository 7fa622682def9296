/** The metrics and debug pages of policies. */
import type { Registry } from "prom-client";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { Runnable } from "../../core/controller.ts";
import type { Logger } from "../../core/log.ts";
import type { ModeChoice } from "./mode.ts";
import { PolicyCounters } from "./policy-counters.ts";
import { PolicyMetrics } from "./policy-metrics.ts";
import { judgementPage, policiesPage } from "./policy-pages.ts";
import type { PolicyProgrammer } from "./policy-programmer.ts";
import type { PolicySync, SyncReport } from "./policy-sync.ts";

export interface PolicyReportsParts {
  readonly map: PolicyMap;
  readonly programmer: Pick<PolicyProgrammer, "counts">;
  readonly sync: Pick<PolicySync, "tables" | "hasTable">;
  /** The choice is absent until the mode is decided. */
  readonly state: () => Partial<ModeChoice> & { readonly isSynced: boolean; readonly warnings: readonly string[] };
  readonly registry: Registry;
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Pick<Logger, "warn">;
}

export class PolicyReports {
  readonly pages: NonNullable<Runnable["pages"]>;
  readonly asyncPages: NonNullable<Runnable["asyncPages"]> = { policies: () => this.#policies() };
  readonly #parts: PolicyReportsParts;
  readonly #counters: PolicyCounters;
  readonly #metrics: PolicyMetrics;
  #last: SyncReport | undefined;

  constructor(parts: PolicyReportsParts) {
    const { map, programmer, sync, state, registry, clock, log } = parts;
    const read = async () => (sync.hasTable ? programmer.counts() : []);
    this.#parts = parts;
    this.#counters = new PolicyCounters({ read, tables: sync.tables, clock });
    this.#metrics = new PolicyMetrics({ registry, map, counters: this.#counters, mode: () => state().mode, log });
    this.pages = {
      "policy-judgement": (query) => {
        const answer = judgementPage(state().mode ?? "off", query, (question) => map.judge(question));
        return [`${JSON.stringify(answer)}\n`];
      },
    };
  }

  /** `latencyMs`: the time from the first programmed change; undefined if none was programmed. */
  synced(report: SyncReport, latencyMs: number | undefined): void {
    this.#last = report;
    this.#metrics.synced(report, latencyMs);
  }

  async *#policies(): AsyncIterable<string> {
    const { map, state, clock } = this.#parts;
    await this.#counters.refresh();
    const { mode = "off", reason: modeReason = UNDECIDED, ...rest } = state();
    const packetsOf = (policy: string) => this.#counters.of(policy);
    yield* policiesPage({ map, packetsOf, mode, modeReason, ...rest, last: this.#last, nowMs: clock.nowMs() });
  }
}

const UNDECIDED = "the Nodes are not listed yet";
