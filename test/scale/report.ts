/** The results of `npm run bench -- scale`. */

import Table from "cli-table3";
import { median, quantile } from "../bench/statistics.ts";
import type { Churn } from "./bed.ts";
import type { Latencies } from "./latency.ts";

export interface SizeReport {
  readonly nodes: number;
  /** The time for comparing and sending. This and all other times are the best of several rounds. */
  readonly sentMs: number;
  readonly batchMs: number;
  readonly ratio: number;
  readonly afterListMs: number;
  readonly afterStartMs: number;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  /** In ten seconds without changes. */
  readonly idleCpuSeconds: number;
}

/** Latencies of the changes of one Node, in milliseconds. */
export interface LatencyReport {
  readonly nodes: number;
  readonly steps: readonly { readonly name: keyof Latencies; readonly p50Ms: number; readonly p99Ms: number }[];
}

export function latencyReport(nodes: number, times: Latencies): LatencyReport {
  const names = ["add", "change", "remove"] as const;
  const steps = names.map((name) => ({ name, p50Ms: median(times[name]), p99Ms: quantile(times[name], 0.99) }));
  return { nodes, steps };
}

export interface ScaleReport {
  readonly rounds: number;
  readonly latency: LatencyReport;
  /** With IPv4. */
  readonly sizes: readonly SizeReport[];
  /** With IPv4 and IPv6, each with its own VTEP: twice the entries. */
  readonly dualStack: readonly SizeReport[];
  readonly churn: Churn;
  readonly relist: {
    readonly nodes: number;
    readonly left: number;
    readonly came: number;
    /** Number of removed routes. */
    readonly removed: number;
    readonly settledMs: number;
  };
}

/** For the largest cluster. */
const LARGEST_RATIO = 1;

/** From the event of the watch to the kernel's notification. */
const LATENCY_P99_MS = 5;

export function isKept({ latency, sizes, dualStack, relist }: ScaleReport): boolean {
  if (latency.steps.some(({ p99Ms }) => p99Ms > LATENCY_P99_MS)) return false;
  const largest = [sizes, dualStack].map((of) => of.at(-1)?.ratio ?? Number.NaN);
  return largest.every((ratio) => ratio <= LARGEST_RATIO) && relist.removed === relist.left;
}

export function formatScale({ latency, sizes, dualStack, churn, relist }: ScaleReport): string {
  const table = new Table({
    head: ["Nodes", "weftd programs", "-batch", "ratio", "after the list", "after the start", "RSS", "CPU", "CPU idle"],
    colAligns: Array.from({ length: 9 }, () => "right" as const),
    style: { head: [], border: [] },
  });
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  const rows = [
    ...sizes.map((size) => ({ ...size, name: String(size.nodes) })),
    ...dualStack.map((size) => ({ ...size, name: `${size.nodes}, dual stack` })),
  ];
  for (const size of rows) {
    table.push([
      ...[size.name, ms(size.sentMs), ms(size.batchMs), size.ratio.toFixed(2)],
      ...[ms(size.afterListMs), ms(size.afterStartMs), `${(size.residentBytes / 2 ** 20).toFixed(0)} MiB`],
      ...[`${size.cpuSeconds.toFixed(2)} s`, `${size.idleCpuSeconds.toFixed(3)} s in 10 s`],
    ]);
  }
  return [
    table.toString(),
    ...latency.steps.map(
      ({ name, p50Ms, p99Ms }) =>
        `One Node of ${latency.nodes}, ${name}: from the event to the kernel's notification p50 ${p50Ms.toFixed(1)} ms, ` +
        `p99 ${p99Ms.toFixed(1)} ms; bound ${LATENCY_P99_MS} ms ${p99Ms > LATENCY_P99_MS ? "exceeded" : "kept"}`,
    ),
    `${churn.changes} Node changes in ${churn.seconds} s: ${churn.passes} passes, ${churn.cpuSeconds.toFixed(1)} s of CPU, ` +
      `all in the kernel ${ms(churn.settledMs)} after the last, none lost`,
    `A relist of ${relist.nodes} Nodes, ${relist.left} of them deleted and ${relist.came} created: ${relist.removed} routes ` +
      `removed, done in ${ms(relist.settledMs)}`,
  ].join("\n");
}
