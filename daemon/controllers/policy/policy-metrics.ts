/** weft's metrics of NetworkPolicies. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { Logger } from "../../core/log.ts";
import type { PolicyCounters } from "./policy-counters.ts";
import type { SyncReport } from "./policy-sync.ts";

/** From half a millisecond (one element) to some seconds (a cold start with thousands of policies). */
const SYNC_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The number of policies with series of their own. The packets of all others together have the name "other". */
export const NAMED_POLICIES = 100;
const OTHER = "other";

const MODES = ["enforce", "audit", "off"] as const;

export interface PolicyMetricsParts {
  readonly registry: Registry;
  readonly map: Pick<PolicyMap, "counts" | "policies">;
  readonly counters: Pick<PolicyCounters, "refresh" | "of" | "names" | "retain">;
  readonly mode: () => (typeof MODES)[number] | undefined;
  readonly log: Pick<Logger, "warn">;
}

export class PolicyMetrics {
  readonly #duration: Histogram<"kind" | "result">;
  readonly #latency: Histogram;
  readonly #transactions: Counter;
  readonly #requests: Counter;

  constructor(parts: PolicyMetricsParts) {
    const { map, mode } = parts;
    const registers = [parts.registry];
    new Gauge({
      name: "weft_policy_policies",
      help: "Policies of the cluster, by kind.",
      labelNames: ["kind"] as const,
      registers,
      collect() {
        const { policies, clusterPolicies } = map.counts();
        this.set({ kind: "NetworkPolicy" }, policies);
        this.set({ kind: "ClusterNetworkPolicy" }, clusterPolicies);
      },
    });
    new Gauge({
      name: "weft_policy_isolated_pods",
      help: "Pods of this node that some policy concerns.",
      registers,
      collect() {
        this.set(map.counts().isolatedPods);
      },
    });
    new Gauge({
      name: "weft_policy_mode",
      help: "1 for the mode of NetworkPolicies on this node (enforce, audit, off), 0 for the others.",
      labelNames: ["mode"] as const,
      registers,
      collect() {
        for (const each of MODES) this.set({ mode: each }, each === mode() ? 1 : 0);
      },
    });
    packetCounter(parts);
    this.#duration = new Histogram({
      name: "weft_policy_sync_duration_seconds",
      help: "Duration of one sync of policies, by kind (full: everything was compared; partial: changes were sent) and result.",
      labelNames: ["kind", "result"] as const,
      buckets: SYNC_BUCKETS,
      registers,
    });
    this.#latency = new Histogram({
      name: "weft_policy_programming_latency_seconds",
      help: "Time from the arrival of a change of a policy, Namespace or Pod to the commit that programs it.",
      buckets: SYNC_BUCKETS,
      registers,
    });
    this.#transactions = new Counter({
      name: "weft_policy_transactions_total",
      help: "nftables transactions for policies that the kernel has committed.",
      registers,
    });
    this.#requests = new Counter({
      name: "weft_policy_requests_total",
      help: "Requests in those transactions: each adds or removes elements, or another object.",
      registers,
    });
  }

  /** `latencyMs`: the time from the first programmed change; undefined if none was programmed. */
  synced({ kind, durationMs, sent }: SyncReport, latencyMs: number | undefined): void {
    this.#duration.observe({ kind, result: sent === undefined ? "failure" : "success" }, durationMs / 1000);
    if (sent === undefined) return;
    if (latencyMs !== undefined) this.#latency.observe(latencyMs / 1000);
    this.#transactions.inc(sent.transactions);
    this.#requests.inc(sent.requests);
  }
}

/** The kernel's counters are read when Prometheus scrapes. */
function packetCounter({ registry, map, counters, log }: PolicyMetricsParts): void {
  const named = new Set<string>();
  new Counter({
    name: "weft_policy_packets_total",
    help:
      "First packets of connections by policy and verdict, as audited or enforced: allow if a rule of the policy allowed " +
      `them, deny if it denied them or isolates the pod and no policy allowed them. At most ${NAMED_POLICIES} policies ` +
      `have series of their own; all others count as ${OTHER}.`,
    labelNames: ["policy", "verdict"] as const,
    registers: [registry],
    async collect() {
      try {
        await counters.refresh();
      } catch (error) {
        log.warn({ err: error }, "cannot read the counters of policies");
      }
      const inForce = new Set(map.policies().map(({ name }) => name));
      counters.retain((name) => inForce.has(name));
      for (const name of named) if (!inForce.has(name)) named.delete(name);
      this.reset();
      for (const name of counters.names()) {
        if (named.size < NAMED_POLICIES) named.add(name);
        const policy = named.has(name) ? name : OTHER;
        const { allowed, denied } = counters.of(name);
        this.inc({ policy, verdict: "allow" }, allowed);
        this.inc({ policy, verdict: "deny" }, denied);
      }
    },
  });
}
