import Table from "cli-table3";
import type { Cluster } from "../live/harness/cluster.ts";
import type { Episode } from "./episode.ts";

/** A table for looking at; without colours where NO_COLOR is set or nobody looks. */
export function resultTable({
  mode,
  families,
  nodes,
  podsPerNode,
  first,
  second,
  addMs,
  programmedMs,
}: Episode): string {
  const isPlain = process.env.NO_COLOR !== undefined || !process.stdout.isTTY;
  const table = new Table({
    head: [`${mode}, ${families}: ${nodes} nodes, ${podsPerNode} pods each`, ""],
    ...(isPlain ? { style: { head: [], border: [] } } : {}),
  });
  table.push(
    ["pod to pod, ping and TCP under its own address", `${first.reached} of ${first.pairs}`],
    ["node to pod", `${first.nodesReached} of ${first.nodePairs}`],
    [
      "the same after one node left and another joined",
      `${second.reached} of ${second.pairs}, ${second.nodesReached} of ${second.nodePairs}`,
    ],
    [`ADD of a pod (${addMs.length}), whole chain`, times(addMs)],
    [`Node event to programmed kernel (${programmedMs.length})`, times(programmedMs)],
  );
  const failures = [...first.failures, ...second.failures];
  return [table.toString(), ...failures.map((failure) => `  ${failure}`)].join("\n");
}

/** The line that scripts look for: of the two times that all pairs were tried, the one with fewer reached. */
export function resultLine({ mode, first, second }: Episode): string {
  const { reached, pairs } = second.reached < first.reached ? second : first;
  return `demo ${mode}: ${reached}/${pairs} pairs reached`;
}

/** Where to look at what is still up. */
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`;
}
