/** docs/observation.md: what weftd tells, made of what the code itself goes by. */
import { Registry } from "prom-client";
import { registerConnectionCounters } from "../../daemon/controllers/service-health/connection-counters.ts";
import { ProxyMetrics } from "../../daemon/controllers/service-health/proxy-metrics.ts";
import { ServiceMetrics } from "../../daemon/controllers/services/service-metrics.ts";
import { Metrics, REPAIR_KINDS } from "../../daemon/core/metrics.ts";
import { Facts } from "../../daemon/core/topic.ts";
import { EVENT_REASONS } from "../../daemon/sources/event-reasons.ts";
import { code, table } from "./markdown.ts";

export async function observationText(): Promise<string> {
  return `# What weftd tells

Made from the code (\`npm run docs\`). What to do about it is in [operations.md](operations.md).

## At --metrics-address

| path | answer |
|---|---|
| \`/healthz\` | 200 while all controllers' passes end; 503 with the reason when one hangs: a liveness probe |
| \`/readyz\` | 200 while this node serves its pods, and a line for each warning and each controller; 503 with the reasons: a readiness probe |
| \`/metrics\` | the metrics below, for Prometheus |
| \`/debug/state\` | for the node itself alone: peers, what the kernel should hold, what it holds, the difference, and each controller's state, as JSON |
| \`/debug/services\` | for the node itself alone, with \`--service-proxy\`: each Service's frontends and endpoints here, and why others are not used, as JSON (\`weft services\` shows it); \`?service=NAMESPACE/NAME\` and \`?namespace=NAMESPACE\` choose |

## Metrics

${metricsTable(await new Metrics().text())}

Kinds of \`weft_repairs_total\`: ${REPAIR_KINDS.map(code).join(", ")}, \`other\`.

With \`--service-proxy\`:

${metricsTable(await serviceMetrics())}

## At --healthz-bind-address and --proxy-metrics-bind-address

With \`--service-proxy\` weftd answers where kube-proxy does, as kube-proxy does: [services-operations.md](services-operations.md).

| path | answer |
|---|---|
| \`:10256/healthz\` | 200 while the kernel follows the Services and the Node stays, else 503: for load balancers |
| \`:10256/livez\` | the same without the Node |
| \`127.0.0.1:10249/metrics\` | kube-proxy's metrics, below |
| \`127.0.0.1:10249/proxyMode\` | \`nftables\` |
| \`127.0.0.1:10249/healthz\` | \`ok\` |

${metricsTable(await new ProxyMetrics({ dateMs: () => 0 }).text())}

## Events

About the Node (\`kubectl describe node\`, \`kubectl get events --field-selector involvedObject.kind=Node\`). What is said again
is counted, not said again. Without Kubernetes they are lines of the log.

${table(
  ["reason", "meaning"],
  Object.entries(EVENT_REASONS).map(([reason, meaning]) => [code(reason), meaning]),
)}

## Condition

\`NetworkUnavailable\` becomes False, with the reason \`WeftIsUp\`, once the node serves pods. weftd never sets it True: pods that
run keep their network while it is away.

## Log

JSON, a line for each decision, on standard output; \`--log-level debug\` adds every request to the kernel, as the \`ip\`, \`bridge\`
or \`nft\` command that does the same.
`;
}

/** What controllers of Services register. */
async function serviceMetrics(): Promise<string> {
  const registry = new Registry();
  const none = {
    services: 0,
    endpoints: 0,
    withoutLocalInternal: { 4: 0, 6: 0 },
    withoutLocalExternal: { 4: 0, 6: 0 },
  };
  new ServiceMetrics(registry, { counts: () => none, frontends: () => [] });
  const nftables = { dump: async () => [] };
  registerConnectionCounters({ registry, nftables, facts: new Facts(), clock: { nowMs: () => 0 }, limit: 1 });
  return registry.metrics();
}

function metricsTable(text: string): string {
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = "", type = ""]) => [name, type]));
  const rows = [...text.matchAll(/^# HELP (\S+) (.+)$/gm)].map(([, name = "", help = ""]) => [
    code(name),
    types.get(name) ?? "",
    help,
  ]);
  return table(["name", "type", "meaning"], rows);
}
