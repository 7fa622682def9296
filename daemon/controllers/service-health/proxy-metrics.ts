/**
 * kube-proxy's metrics of nftables mode with its own names, labels and buckets (pkg/proxy/metrics/metrics.go, 1.36), so
 * that existing dashboards and recording rules keep working. Served apart from weftd's own metrics.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Family } from "../../../pkg/ip/address.ts";
import { observeProcess } from "../../core/metrics.ts";
import type { ConntrackSweep, QueuedChanges, ServicesSeen, ServicesSync } from "../facts.ts";
import { IP_FAMILIES } from "./proxy-health.ts";

const range = (from: number, to: number, step: number) =>
  Array.from({ length: (to - from) / step + 1 }, (_, at) => from + at * step);

/** 1 ms to 16 s; each bucket is twice the previous one. */
export const SYNC_BUCKETS = range(0, 14, 1).map((power) => 2 ** power / 1000);

/** Fine in the first minute, up to five minutes. */
export const PROGRAMMING_BUCKETS = [
  ...[0, 0.25, 0.5],
  ...[...range(1, 59, 1), ...range(60, 115, 5), ...range(120, 300, 30)],
];

const OF_FAMILY = ["ip_family"] as const;
const POLICIES = ["internal", "external"] as const;
const FAMILIES: readonly Family[] = [4, 6];

export interface ProxyMetricsOptions {
  /** Milliseconds since 1970. */
  readonly dateMs: () => number;
}

export class ProxyMetrics {
  readonly #dateMs: () => number;
  /** Changes of EndpointSlices from before this time do not measure this process. */
  readonly #startMs: number;
  readonly #registry = new Registry();
  readonly #registers = [this.#registry];

  readonly #sync = this.#histogram("kubeproxy_sync_proxy_rules_duration_seconds", "Duration of programming Services.");
  readonly #syncOf = {
    full: this.#histogram(
      "kubeproxy_sync_full_proxy_rules_duration_seconds",
      "Duration of comparing all Services with the kernel.",
    ),
    partial: this.#histogram(
      "kubeproxy_sync_partial_proxy_rules_duration_seconds",
      "Duration of sending changes of Services to the kernel.",
    ),
  };
  readonly #programming = this.#histogram(
    "kubeproxy_network_programming_duration_seconds",
    "Time from the change of a Service or pod, as stated in EndpointSlices, to the end of its programming.",
    PROGRAMMING_BUCKETS,
  );
  readonly #lastSynced = this.#gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "Time of the last successful sync, in seconds since 1970.",
    OF_FAMILY,
  );
  readonly #lastQueued = this.#gauge(
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "Time at which a sync was last requested, in seconds since 1970.",
    OF_FAMILY,
  );
  readonly #endpointsPending = this.#gauge(
    "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
    "Changes of EndpointSlices that are not programmed yet.",
  );
  readonly #endpointsTotal = this.#counter(
    "kubeproxy_sync_proxy_rules_endpoint_changes_total",
    "Changes of EndpointSlices that were programmed.",
  );
  readonly #servicesPending = this.#gauge(
    "kubeproxy_sync_proxy_rules_service_changes_pending",
    "Changes of Services that are not programmed yet.",
  );
  readonly #servicesTotal = this.#counter(
    "kubeproxy_sync_proxy_rules_service_changes_total",
    "Changes of Services that were programmed.",
  );
  readonly #withoutLocal = this.#gauge(
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
    "Service ports of traffic policy Local that have endpoints, but none on this node.",
    ["ip_family", "traffic_policy"],
  );
  readonly #syncFailures = this.#counter(
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
    "Syncs that failed.",
    OF_FAMILY,
  );
  readonly #sweep = this.#histogram(
    "kubeproxy_conntrack_reconciler_sync_duration_seconds",
    "Duration of a search for stale flows.",
  );
  readonly #swept = this.#counter(
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
    "Stale flows that were deleted.",
    OF_FAMILY,
  );
  readonly #healthz = this.#counter("kubeproxy_proxy_healthz_total", "Answers of /healthz, by HTTP status.", ["code"]);
  readonly #livez = this.#counter("kubeproxy_proxy_livez_total", "Answers of /livez, by HTTP status.", ["code"]);

  constructor({ dateMs }: ProxyMetricsOptions) {
    this.#dateMs = dateMs;
    this.#startMs = dateMs();
    observeProcess(this.#registers);
    this.seen(undefined);
  }

  queued({ sinceMs, services, endpoints }: QueuedChanges): void {
    this.#servicesPending.set(services);
    this.#endpointsPending.set(endpoints);
    if (sinceMs === undefined) return;
    for (const family of FAMILIES) this.#lastQueued.set(labelOf(family), this.#dateMs() / 1000);
  }

  synced({ kind, isSuccess, durationMs, families, serviceChanges, endpointChanges, triggers }: ServicesSync): void {
    const dateMs = this.#dateMs();
    for (const family of families) {
      const label = labelOf(family);
      this.#sync.observe(label, durationMs / 1000);
      this.#syncOf[kind].observe(label, durationMs / 1000);
      if (isSuccess) this.#lastSynced.set(label, dateMs / 1000);
      else this.#syncFailures.inc(label);
    }
    if (!isSuccess) return;
    this.#servicesTotal.inc(serviceChanges);
    this.#endpointsTotal.inc(endpointChanges);
    for (const { family, triggeredMs } of triggers) {
      if (triggeredMs < this.#startMs) continue;
      this.#programming.observe(labelOf(family), Math.max(0, dateMs - triggeredMs) / 1000);
    }
  }

  seen(seen: Pick<ServicesSeen, "withoutLocalEndpoints"> | undefined): void {
    for (const family of FAMILIES) {
      for (const policy of POLICIES) {
        const found = seen?.withoutLocalEndpoints.find((one) => one.family === family && one.policy === policy);
        this.#withoutLocal.set({ ...labelOf(family), traffic_policy: policy }, found?.count ?? 0);
      }
    }
  }

  swept({ family, durationMs, deleted }: ConntrackSweep): void {
    this.#sweep.observe(labelOf(family), durationMs / 1000);
    this.#swept.inc(labelOf(family), deleted);
  }

  /** Counts an answer at `path`. */
  answered(path: "/healthz" | "/livez", status: number): void {
    const counter = path === "/healthz" ? this.#healthz : this.#livez;
    counter.inc({ code: String(status) });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Returns the exposition text. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #histogram(name: string, help: string, buckets: readonly number[] = SYNC_BUCKETS) {
    return new Histogram({ name, help, buckets: [...buckets], labelNames: OF_FAMILY, registers: this.#registers });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []) {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: this.#registers });
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []) {
    return new Counter({ name, help, labelNames: [...labelNames], registers: this.#registers });
  }
}

function labelOf(family: Family) {
  return { ip_family: IP_FAMILIES[family] };
}
