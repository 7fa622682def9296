/** What `npm run bench -- scale` has found. */
import Table from "cli-table3";
import type { Churn } from "./bed.ts";

export interface SizeReport {
  readonly nodes: number;
  /** Comparing and sending; of several rounds the one that other programs disturbed least, as all times here. */
  readonly sentMs: number;
  readonly batchMs: number;
  readonly ratio: number;
  readonly afterListMs: number;
  readonly afterStartMs: number;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  /** Of ten seconds in which nothing happens. */
  readonly idleCpuSeconds: number;
}

export interface ScaleReport {
  readonly rounds: number;
  /** With IPv4. */
  readonly sizes: readonly SizeReport[];
  /** With IPv4 and IPv6, each over a VTEP of its own: twice the entries. */
  readonly dualStack: readonly SizeReport[];
  readonly churn: Churn;
  readonly relist: {
    readonly nodes: number;
    readonly left: number;
    readonly came: number;
    /** Routes that were removed. */
    readonly removed: number;
    readonly settledMs: number;
  };
}

/** Of the largest cluster. */
const LARGEST_RATIO = 1;

export function isKept({ sizes, dualStack, relist }: ScaleReport): boolean {
  const largest = [sizes, dualStack].map((of) => of.at(-1)?.ratio ?? Number.NaN);
  return largest.every((ratio) => ratio <= LARGEST_RATIO) && relist.removed === relist.left;
}

export function formatScale({ sizes, dualStack, churn, relist }: ScaleReport): string {
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
    `${churn.changes} Node changes in ${churn.seconds} s: ${churn.passes} passes, ${churn.cpuSeconds.toFixed(1)} s of CPU, ` +
      `all in the kernel ${ms(churn.settledMs)} after the last, none lost`,
    `A relist of ${relist.nodes} Nodes, of which ${relist.left} had left and ${relist.came} come: ${relist.removed} routes ` +
      `removed, done in ${ms(relist.settledMs)}`,
  ].join("\n");
}
