/** The results of `npm run bench -- scale`. */

import Table from "cli-table3";
import { median, quantile } from "../bench/statistics.ts";
import type { Churn } from "./bed.ts";
import type { Latencies } from "./latency.ts";
import type { Rest } from "./weftd-process.ts";

export interface SizeReport {
  readonly nodes: number;
  /** The time for comparing and sending. This and all other times are the best of several rounds. */
  readonly sentMs: number;
  readonly batchMs: number;
  readonly ratio: number;
  readonly afterListMs: number;
  readonly afterStartMs: number;
  /** The largest resident memory of a start. */
  readonly peakBytes: number;
  readonly rest: Rest;
  /** CPU time of a start. */
  readonly cpuSeconds: number;
}

/** Latencies of the changes of one Node, in milliseconds. */
export interface LatencyReport {
  readonly nodes: number;
  readonly steps: readonly {
    readonly name: keyof Latencies;
    readonly p50Ms: number;
    readonly p90Ms: number;
    readonly p99Ms: number;
  }[];
}

export function latencyReport(nodes: number, times: Latencies): LatencyReport {
  const names = ["add", "change", "remove"] as const;
  const steps = names.map((name) => ({
    ...{ name, p50Ms: median(times[name]) },
    ...{ p90Ms: quantile(times[name], 0.9), p99Ms: quantile(times[name], 0.99) },
  }));
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
/** Resident memory of weftd at rest, by the number of other Nodes of one family. */
const RESIDENT_MIB: readonly (readonly [nodes: number, mib: number])[] = [
  [0, 60],
  [5000, 150],
];
/** The share of one processor at rest, with this many other Nodes of one family. */
const [CPU_NODES, CPU_PERCENT] = [1000, 1];
const MIB = 2 ** 20;

/** From the event of the watch to the kernel's notification. */
const LATENCY_P99_MS = 5;

interface Bound {
  readonly name: string;
  readonly measured: number;
  readonly limit: number;
}

function boundsOf({ latency, sizes, dualStack, relist }: ScaleReport): Bound[] {
  const restWith = (nodes: number) => sizes.find((size) => size.nodes === nodes)?.rest;
  const largest = [sizes, dualStack].flatMap((of) => of.slice(-1));
  return [
    ...latency.steps.map(({ name, p99Ms }) => ({
      ...{ name: `one Node of ${latency.nodes}, ${name}: p99 in ms`, measured: p99Ms, limit: LATENCY_P99_MS },
    })),
    ...largest.map(({ nodes, ratio }) => ({
      name: `weftd / -batch, ${nodes} Nodes`,
      measured: ratio,
      limit: LARGEST_RATIO,
    })),
    {
      ...{ name: "routes that a relist removed wrongly or left over", limit: 0 },
      measured: Math.abs(relist.removed - relist.left),
    },
    ...RESIDENT_MIB.map(([nodes, limit]) => ({
      ...{ name: `resident MiB at rest, ${nodes} Nodes`, limit },
      measured: (restWith(nodes)?.residentBytes ?? Number.NaN) / MIB,
    })),
    {
      ...{ name: `CPU at rest, ${CPU_NODES} Nodes, percent of a processor`, limit: CPU_PERCENT },
      measured: 100 * (restWith(CPU_NODES)?.cpuShare ?? Number.NaN),
    },
  ];
}

const isBoundKept = ({ measured, limit }: Bound) => measured <= limit;

export function isLatencyKept({ steps }: LatencyReport): boolean {
  return steps.every(({ p99Ms }) => p99Ms <= LATENCY_P99_MS);
}

export function isKept(report: ScaleReport): boolean {
  return boundsOf(report).every(isBoundKept);
}

export function formatLatency({ nodes, steps }: LatencyReport): string {
  const texts = steps.map(
    ({ name, p50Ms, p90Ms, p99Ms }) =>
      `One Node of ${nodes}, ${name}: from the event to the kernel's notification ` +
      `p50 ${p50Ms.toFixed(1)} ms, p90 ${p90Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`,
  );
  return texts.join("\n");
}

export function formatScale(report: ScaleReport): string {
  const { latency, sizes, dualStack, churn, relist } = report;
  const style = { head: [], border: [] };
  const head = [
    ...["Nodes", "weftd programs", "-batch", "ratio", "after the list", "after the start", "CPU", "peak RSS"],
    ...["RSS at rest", "without files", "CPU at rest"],
  ];
  const table = new Table({ head, colAligns: head.map(() => "right" as const), style });
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  const rows = [
    ...sizes.map((size) => ({ ...size, name: String(size.nodes) })),
    ...dualStack.map((size) => ({ ...size, name: `${size.nodes}, dual stack` })),
  ];
  for (const size of rows) {
    table.push([
      ...[size.name, ms(size.sentMs), ms(size.batchMs), size.ratio.toFixed(2)],
      ...[ms(size.afterListMs), ms(size.afterStartMs), `${size.cpuSeconds.toFixed(2)} s`, mib(size.peakBytes)],
      ...[mib(size.rest.residentBytes), mib(size.rest.anonymousBytes), `${(100 * size.rest.cpuShare).toFixed(2)} %`],
    ]);
  }
  const bounds = new Table({ head: ["Bound", "measured", "at most", ""], style });
  for (const bound of boundsOf(report)) {
    const { name, measured, limit } = bound;
    bounds.push([name, measured.toFixed(2), String(limit), isBoundKept(bound) ? "kept" : "exceeded"]);
  }
  return [
    table.toString(),
    formatLatency(latency),
    `${churn.changes} Node changes in ${churn.seconds} s: ${churn.passes} passes, ${churn.cpuSeconds.toFixed(1)} s of CPU, ` +
      `all in the kernel ${ms(churn.settledMs)} after the last, none lost`,
    `A relist of ${relist.nodes} Nodes, ${relist.left} of them deleted and ${relist.came} created: ${relist.removed} routes ` +
      `removed, done in ${ms(relist.settledMs)}`,
    bounds.toString(),
  ].join("\n");
}
