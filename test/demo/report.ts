import Table from "cli-table3";
import type { Episode } from "./episode.ts";

/** A table for looking at; without colours where NO_COLOR is set or nobody looks. */
export function resultTable({ mode, nodes, podsPerNode, first, second, addMs, programmedMs }: Episode): string {
  const isPlain = process.env.NO_COLOR !== undefined || !process.stdout.isTTY;
  const table = new Table({
    head: [`${mode}: ${nodes} nodes, ${podsPerNode} pods each`, ""],
    ...(isPlain ? { style: { head: [], border: [] } } : {}),
  });
  table.push(
    ["pod to pod, ping and TCP under its own address", `${first.reached} of ${first.pairs}`],
    ["node to pod", `${first.nodesReached} of ${first.nodePairs}`],
    [
      "the same after one node left and another joined",
      `${second.reached} of ${second.pairs}, ${second.nodesReached} of ${second.nodePairs}`,
    ],
    [
      `ADD of a pod (${addMs.length}), whole chain`,
      `median ${milliseconds(median(addMs))}, worst ${milliseconds(Math.max(...addMs))}`,
    ],
    [
      `Node event to programmed kernel (${programmedMs.length})`,
      `median ${milliseconds(median(programmedMs))}, worst ${milliseconds(Math.max(...programmedMs))}`,
    ],
  );
  const failures = [...first.failures, ...second.failures];
  return [table.toString(), ...failures.map((failure) => `  ${failure}`)].join("\n");
}

/** The line that scripts look for. */
export function resultLine({ mode, first }: Episode): string {
  return `demo ${mode}: ${first.reached}/${first.pairs} pairs reached`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`;
}
