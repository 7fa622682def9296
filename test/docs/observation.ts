/** Generates docs/observation.md from the metrics, Events and other declarations that the code itself uses. */
import { Registry } from "prom-client";
import { attachTimes } from "../../daemon/controllers/policy/attach-server.ts";
import { PolicyMetrics } from "../../daemon/controllers/policy/policy-metrics.ts";
import { cutFlowsCounter } from "../../daemon/controllers/policy-flows/cut-flows-counter.ts";
import { logEntriesCounter } from "../../daemon/controllers/policy-log/log-entries-counter.ts";
import { registerConnectionCounters } from "../../daemon/controllers/service-health/connection-counters.ts";
import { ProxyMetrics } from "../../daemon/controllers/service-health/proxy-metrics.ts";
import { ServiceMetrics } from "../../daemon/controllers/services/service-metrics.ts";
import { Metrics, REPAIR_KINDS } from "../../daemon/core/metrics.ts";
import { Facts } from "../../daemon/core/topic.ts";
import { EVENT_REASONS } from "../../daemon/sources/event-reasons.ts";
import { PolicyMap } from "../../pkg/policy/policy-map.ts";
import { code, table } from "./markdown.ts";

const NO_PACKETS = { allowed: 0, denied: 0 };

export async function observationText(): Promise<string> {
  return `# Health, metrics, Events and logs of weftd

Generated from the code (\`npm run docs\`). [operations.md](operations.md) says what to do about a problem.

## HTTP endpoints on --metrics-address

| path | response |
|---|---|
| \`/healthz\` | 200 while the passes of all controllers finish; 503 with the reason if one hangs. Use it as liveness probe |
| \`/readyz\` | 200 while this node serves its pods, with a line for each warning and each controller; 503 with the reasons otherwise. Use it as readiness probe |
| \`/metrics\` | the metrics below, for Prometheus |
| \`/debug/state\` | as JSON: the peers, the desired state, the state of the kernel, the difference, and the state of each controller. Only the node itself may request it |
| \`/debug/services\` | with \`--service-proxy\`, as JSON: the frontends and endpoints of each Service on this node, and why it does not use an endpoint (\`weft services\` shows it). \`?service=NAMESPACE/NAME\` and \`?namespace=NAMESPACE\` select Services. Only the node itself may request it |
| \`/debug/policies\` | with NetworkPolicies, as JSON: the mode with its reason, and each policy that concerns pods of this node, with counts of packets (\`weft policies\` shows it). Only the node itself may request it |
| \`/debug/policy-judgement\` | as JSON: the policies that allow or deny a connection, by its side. \`?from=ADDRESS&to=ADDRESS&protocol=TCP&port=80\` describes the connection (\`weft explain\` uses it). Only the node itself may request it |
| \`/debug/policy-preview\` | as JSON: the present connections that policies would deny (\`weft policies --preview\` shows it). Only the node itself may request it |

## Metrics

${metricsTable(await new Metrics().text())}

Kinds of \`weft_repairs_total\`: ${REPAIR_KINDS.map(code).join(", ")}, \`other\`.

With \`--service-proxy\`:

${metricsTable(await serviceMetrics())}

With NetworkPolicies ([network-policy.md](network-policy.md)):

${metricsTable(await policyMetrics())}

## HTTP endpoints of kube-proxy

With \`--service-proxy\`, weftd serves kube-proxy's endpoints on \`--healthz-bind-address\` and \`--proxy-metrics-bind-address\`.
[services-operations.md](services-operations.md#health-and-metrics) describes the conditions.

| address and path | response |
|---|---|
| \`:10256/healthz\` | 200 while the kernel is up to date with the Services and the Node is not being removed, else 503. For load balancers |
| \`:10256/livez\` | 200 while the kernel is up to date with the Services, else 503 |
| \`127.0.0.1:10249/metrics\` | kube-proxy's metrics, below |
| \`127.0.0.1:10249/proxyMode\` | \`nftables\` |
| \`127.0.0.1:10249/healthz\` | \`ok\` |

${metricsTable(await new ProxyMetrics({ dateMs: () => 0 }).text())}

## Events

weftd sends Events about its Node (\`kubectl describe node\`, \`kubectl get events --field-selector involvedObject.kind=Node\`). A
repeated Event increments a count. Without Kubernetes, weftd logs its Events.

${table(
  ["reason", "meaning"],
  Object.entries(EVENT_REASONS).map(([reason, meaning]) => [code(reason), meaning]),
)}

## Condition

When the node serves pods, weftd sets \`NetworkUnavailable\` to False, with the reason \`WeftIsUp\`. weftd never sets it to True, because
running pods keep their network while weftd is stopped.

## Log

weftd logs to standard output, in JSON, with one line for each decision. With \`--log-level debug\`, it also logs every request to the kernel, as
the equivalent \`ip\`, \`bridge\` or \`nft\` command.
`;
}

/** Returns the metrics that the controllers of Services register. */
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

/** Returns the metrics that the controllers of policies register. */
async function policyMetrics(): Promise<string> {
  const registry = new Registry();
  const counters = { refresh: async () => undefined, of: () => NO_PACKETS, names: () => [], retain: () => undefined };
  new PolicyMetrics({
    ...{ registry, counters, map: new PolicyMap("node"), mode: () => undefined, log: { warn: () => undefined } },
  });
  attachTimes(registry);
  cutFlowsCounter(registry);
  logEntriesCounter(registry);
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
