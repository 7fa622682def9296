import Table from "cli-table3";
import type { Cluster } from "../live/harness/cluster.ts";
import type { Episode } from "./episode.ts";
import type { Rolling } from "./rolling.ts";
import type { Serving } from "./services.ts";

/** The result of one part of the demo. */
export interface Result {
  readonly cluster: Cluster;
  /** For people. */
  readonly table: string;
  /** The line that scripts look for. */
  readonly line: string;
  readonly isGood: boolean;
}

export function episodeResult(episode: Episode): Result {
  const { cluster, first, second } = episode;
  const isGood = first.failures.length + second.failures.length === 0;
  return { cluster, table: resultTable(episode), line: resultLine(episode), isGood };
}

export function rollingResult(rolling: Rolling): Result {
  const { cluster, families, nodes, podsPerNode, stages, reach } = rolling;
  const table = newTable(`roll, ${families}: ${nodes} nodes, ${podsPerNode} pods each`);
  for (const { to, way, sent, lost } of stages)
    table.push([
      `node by node to ${to} (${way === "restart" ? "new weftd" : "net-conf.json"})`,
      `${lost} of ${sent} pings lost`,
    ]);
  table.push(["pod to pod, ping and TCP with its own address", `${reach.reached} of ${reach.pairs}`]);
  table.push(["node to pod", `${reach.nodesReached} of ${reach.nodePairs}`]);
  const failures = [...stages.flatMap((stage) => stage.failures), ...reach.failures];
  const sum = (key: "sent" | "lost") => stages.reduce((total, stage) => total + stage[key], 0);
  return {
    cluster,
    table: [table.toString(), ...failures.map((failure) => `  ${failure}`)].join("\n"),
    line: `demo roll: ${reach.reached}/${reach.pairs} pairs reached, ${sum("lost")} of ${sum("sent")} pings lost`,
    isGood: failures.length === 0,
  };
}

export function servingResult(serving: Serving): Result {
  const { cluster, mode, families, nodes, podsPerNode, clusterIps, nodePorts, leaving, latencies } = serving;
  const table = newTable(`Services without kube-proxy, ${mode}, ${families}: ${nodes} nodes, ${podsPerNode} pods each`);
  table.push(
    ["every pod and node to the ClusterIP", `${clusterIps.reached} of ${clusterIps.pairs}`],
    ["every node to every node's NodePort", `${nodePorts.reached} of ${nodePorts.pairs}`],
    ["new connections while an endpoint was removed", `${leaving.failures.length} of ${leaving.connections} failed`],
    [
      "EndpointSlice change until all nodes have removed the endpoint",
      `${milliseconds(leaving.goneMs)}, ${leaving.late} connections arrived later`,
    ],
    ...latencies.map(({ way, ms }) => [`first packet until its answer (${ms.length}), ${way}`, fineTimes(ms)]),
  );
  const failures = [...clusterIps.failures, ...nodePorts.failures, ...leaving.failures];
  const reached = clusterIps.reached + nodePorts.reached;
  const pairs = clusterIps.pairs + nodePorts.pairs;
  return {
    cluster,
    table: [table.toString(), ...failures.map((failure) => `  ${failure}`)].join("\n"),
    line: `demo services: ${reached}/${pairs} frontends reached, ${leaving.failures.length} of ${leaving.connections} new connections failed while an endpoint left`,
    isGood: failures.length === 0 && leaving.late === 0,
  };
}

/** Without colours if NO_COLOR is set or the output is not a terminal. */
function newTable(title: string): Table.Table {
  const isPlain = process.env.NO_COLOR !== undefined || !process.stdout.isTTY;
  return new Table({ head: [title, ""], ...(isPlain ? { style: { head: [], border: [] } } : {}) });
}

function resultTable({ mode, families, nodes, podsPerNode, first, second, addMs, programmedMs }: Episode): string {
  const table = newTable(`${mode}, ${families}: ${nodes} nodes, ${podsPerNode} pods each`);
  table.push(
    ["pod to pod, ping and TCP with its own address", `${first.reached} of ${first.pairs}`],
    ["node to pod", `${first.nodesReached} of ${first.nodePairs}`],
    [
      "the same after one node was replaced",
      `${second.reached} of ${second.pairs}, ${second.nodesReached} of ${second.nodePairs}`,
    ],
    [`ADD of a pod (${addMs.length}), all plugins`, times(addMs)],
    [`Node event to programmed kernel (${programmedMs.length})`, times(programmedMs)],
  );
  const failures = [...first.failures, ...second.failures];
  return [table.toString(), ...failures.map((failure) => `  ${failure}`)].join("\n");
}

/** Uses the worse of the two measurements of all pairs. */
function resultLine({ mode, first, second }: Episode): string {
  const { reached, pairs } = second.reached < first.reached ? second : first;
  return `demo ${mode}: ${reached}/${pairs} pairs reached`;
}

/** Commands to inspect what is still running. */
export function sights({ nodes, pods }: Cluster): string {
  return [
    ...nodes.map(({ name, namespace }) => `  node ${name}: ip netns exec ${namespace.name} ip route`),
    ...pods.map(
      ({ name, address, namespace }) => `  pod ${name} (${address}): ip netns exec ${namespace.name} ip address`,
    ),
  ].join("\n");
}

function times(values: readonly number[]): string {
  if (values.length === 0) return "none";
  return `median ${milliseconds(median(values))}, worst ${milliseconds(Math.max(...values))}`;
}

/** Formats times below a millisecond. */
function fineTimes(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const last = sorted[Math.ceil(sorted.length * 0.95) - 1] ?? 0;
  return `median ${median(values).toFixed(2)} ms, 95 of 100 within ${last.toFixed(2)} ms`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`;
}
