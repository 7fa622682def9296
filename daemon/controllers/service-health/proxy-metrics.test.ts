import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ProxyMetrics } from "./proxy-metrics.ts";

const START_MS = Date.parse("2026-11-30T03:00:00Z");

/** Metrics with a value for each sample of every family. */
function used(nowMs = () => START_MS + 10_000): ProxyMetrics {
  let at = START_MS;
  const metrics = new ProxyMetrics({ dateMs: () => at });
  at = nowMs();
  const sync = { isSuccess: true, atMs: 0, durationMs: 40, serviceChanges: 32, endpointChanges: 160 };
  metrics.queued({ sinceMs: 1, services: 0, endpoints: 0 });
  metrics.synced({ ...sync, kind: "full", families: [4, 6], triggers: [] });
  const triggers = [{ family: 4 as const, triggeredMs: START_MS + 9000 }];
  metrics.synced({ ...sync, kind: "partial", families: [4], triggers });
  metrics.swept({ family: 4, durationMs: 5, deleted: 1 });
  for (const path of ["/healthz", "/livez"] as const) metrics.answered(path, 200);
  return metrics;
}

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly buckets: readonly string[];
}

/** Parses an exposition text: names, types, label names, and buckets as written. */
function metricsOf(text: string): Metric[] {
  return [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = "", type = ""]) => {
    const samples = text.split("\n").filter((line) => new RegExp(`^${name}(?:_bucket|_sum|_count)?[ {]`).test(line));
    const labels = new Set(
      samples.flatMap((line) => [...line.matchAll(/([a-z_]+)="/g)].map(([, label = ""]) => label)),
    );
    const buckets = new Set(samples.flatMap((line) => /le="([^"]+)"/.exec(line)?.[1] ?? []));
    return { name, type, labels: [...labels].sort(), buckets: [...buckets] };
  });
}

test("names, types, labels and buckets equal those of a recorded kube-proxy", async () => {
  const recorded = metricsOf(readFileSync("test/vectors/kube-proxy/n1-metrics.txt", "utf8"));
  const ours = metricsOf(await used().text());
  expect(recorded).toHaveLength(15);
  for (const metric of recorded) expect(ours).toContainEqual(metric);
  const more = ours.filter(({ name }) => !recorded.some((metric) => metric.name === name)).map(({ name }) => name);
  // kube-proxy shows a counter with labels only after it has counted.
  expect(more.sort()).toEqual([
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
  ]);
});

test("counts synced and waiting changes", async () => {
  const text = await used().text();
  for (const line of [
    'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 2',
    'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv6"} 1',
    'kubeproxy_sync_full_proxy_rules_duration_seconds_bucket{le="0.064",ip_family="IPv6"} 1',
    'kubeproxy_network_programming_duration_seconds_bucket{le="1",ip_family="IPv4"} 1',
    'kubeproxy_network_programming_duration_seconds_bucket{le="0.5",ip_family="IPv4"} 0',
    `kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} ${START_MS / 1000 + 10}`,
    "kubeproxy_sync_proxy_rules_endpoint_changes_total 320",
    'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv6",traffic_policy="internal"} 0',
    'kubeproxy_proxy_healthz_total{code="200"} 1',
  ]) {
    expect(text.split("\n")).toContain(line);
  }
});

test("changes from before the start do not count as programming time", async () => {
  const metrics = new ProxyMetrics({ dateMs: () => START_MS });
  const triggers = [{ family: 4 as const, triggeredMs: START_MS - 1 }];
  const sync = {
    kind: "full",
    isSuccess: true,
    atMs: 0,
    durationMs: 1,
    serviceChanges: 0,
    endpointChanges: 1,
  } as const;
  metrics.synced({ ...sync, families: [4], triggers });
  expect(await metrics.text()).not.toContain("kubeproxy_network_programming_duration_seconds_count{");
});

test("a failed sync counts as a failure of its families, and otherwise only adds durations", async () => {
  const metrics = new ProxyMetrics({ dateMs: () => START_MS });
  const sync = {
    kind: "partial",
    atMs: 0,
    durationMs: 1,
    serviceChanges: 1,
    endpointChanges: 1,
    triggers: [],
  } as const;
  metrics.synced({ ...sync, isSuccess: false, families: [6] });
  const text = await metrics.text();
  expect(text).toContain('kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv6"} 1');
  expect(text).toContain("kubeproxy_sync_proxy_rules_service_changes_total 0");
  expect(text).not.toContain("kubeproxy_sync_proxy_rules_last_timestamp_seconds{");
});

test("shows Service ports without local endpoints by family and policy", async () => {
  const metrics = new ProxyMetrics({ dateMs: () => START_MS });
  metrics.seen({ withoutLocalEndpoints: [{ family: 4, policy: "external", count: 3 }] });
  metrics.queued({ sinceMs: undefined, services: 2, endpoints: 5 });
  const text = await metrics.text();
  expect(text).toContain('no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 3');
  expect(text).toContain("kubeproxy_sync_proxy_rules_service_changes_pending 2");
  expect(text).toContain("kubeproxy_sync_proxy_rules_endpoint_changes_pending 5");
  expect(text).not.toContain("last_queued_timestamp_seconds{");
});
