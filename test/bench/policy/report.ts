/** The results of `npm run bench -- policy`, and whether the bounds hold. */
import Table from "cli-table3";
import { median, quantile } from "../statistics.ts";
import type { AddTimes } from "./adds.ts";
import type { Programmed, Relabelled } from "./child.ts";
import type { PopulationSize } from "./population.ts";

/** A path between two pods. */
export interface Path {
  readonly name: string;
  /** From SYN to SYN-ACK, in microseconds. */
  readonly connectUs: readonly number[];
  /** The rates of rounds, in bits per second. */
  readonly bitsPerSecond: readonly number[];
}

export interface PolicyReport {
  readonly size: PopulationSize;
  readonly cold: Programmed;
  readonly restart: Programmed;
  readonly relabels: { readonly any: Relabelled; readonly local: Relabelled };
  /** The first is without policies, the second with one. */
  readonly paths: readonly Path[];
  readonly adds: AddTimes;
  /** The average number of runnable threads of the machine in the last minute, before and after. */
  readonly load: { readonly before: number; readonly after: number };
}

export interface Bound {
  readonly name: string;
  readonly measured: number;
  readonly limit: number;
  readonly isKept: boolean;
}

export const summary = ({ adds, paths, relabels, ...report }: PolicyReport) => ({
  ...report,
  relabels: {
    any: { p50Ms: median(relabels.any.ms), p99Ms: quantile(relabels.any.ms, 0.99) },
    local: { p50Ms: median(relabels.local.ms), p99Ms: quantile(relabels.local.ms, 0.99) },
  },
  paths: paths.map(({ name, connectUs, bitsPerSecond }) => ({
    ...{ name, connectUs: { p50: median(connectUs), p99: quantile(connectUs, 0.99) } },
    bitsPerSecond: median(bitsPerSecond),
  })),
  adds: {
    ...{ withoutMs: median(adds.without), reusedMs: median(adds.reused), firstMs: median(adds.first) },
    ...{ reusedAddedMs: addedMs(adds, "reused"), firstAddedMs: addedMs(adds, "first") },
  },
});

/** The median of the differences within a round, which a slow phase of the machine affects alike. */
/** The ADDs without policies whose addresses are of the same kind. */
const WITHOUT = { reused: "without", first: "withoutFirst" } as const;

const addedMs = (adds: AddTimes, kind: "reused" | "first") =>
  median(adds[kind].map((ms, at) => ms - (adds[WITHOUT[kind]][at] ?? Number.NaN)));

const atMost = (name: string, measured: number, limit: number): Bound => ({
  ...{ name, measured, limit },
  isKept: measured <= limit,
});

export function boundsOf(report: PolicyReport): Bound[] {
  const { cold, restart, relabels, paths, adds } = report;
  const [none, one, ...others] = paths;
  if (none === undefined || one === undefined) throw new RangeError("no paths to compare");
  const ratio = (path: Path, to: Path) => median(path.connectUs) / median(to.connectUs);
  // Each round against the round without policies next to it.
  const loss = ({ bitsPerSecond }: Path) =>
    1 - median(bitsPerSecond.map((rate, at) => rate / (none.bitsPerSecond[at] ?? Number.NaN)));
  return [
    atMost("compile and program, in ms", cold.ms, 2000),
    atMost("transactions of a restart", restart.transactions, 0),
    atMost("change of one pod's labels, p99 in ms", quantile(relabels.any.ms, 0.99), 20),
    atMost("the same, pods of the node", quantile(relabels.local.ms, 0.99), 20),
    ...[one, ...others].map((path) => atMost(`new connection p50, ${path.name} / none`, ratio(path, none), 1.05)),
    ...others.map((path) => atMost(`new connection p50, ${path.name} / ${one.name}`, ratio(path, one), 1.05)),
    ...[one, ...others].map((path) => atMost(`lost share of a stream's rate, ${path.name}`, loss(path), 0.01)),
    atMost("added to ADD of a known pod, in ms", addedMs(adds, "reused"), 0.5),
    atMost("the same, first use of the address", addedMs(adds, "first"), 0.5),
  ];
}

export function formatPolicies(report: PolicyReport): string {
  const { size, cold, restart, paths, load } = report;
  const { relabels, adds } = summary(report);
  const ms = (value: number, digits = 0) => `${value.toFixed(digits)} ms`;
  const style = { head: [], border: [] };
  const figures = new Table({ style, colAligns: ["left", "right"] });
  figures.push(
    [`${size.policies} policies, ${size.pods} pods, ${size.local} of this node`, ms(cold.ms)],
    ["of this, parsing and compiling", ms(cold.compileMs)],
    ["transactions, the longest", `${cold.transactions}, ${ms(cold.longestMs, 1)}`],
    ["profiles, identities", `${cold.profiles}, ${cold.identities}`],
    ["restart", `${ms(restart.ms)}, ${restart.transactions} transactions`],
    ["one pod's labels", `p50 ${ms(relabels.any.p50Ms, 3)}, p99 ${ms(relabels.any.p99Ms, 3)}`],
    ["one local pod's labels", `p50 ${ms(relabels.local.p50Ms, 3)}, p99 ${ms(relabels.local.p99Ms, 3)}`],
    ...paths.map(({ name, connectUs, bitsPerSecond }): [string, string] => [
      `between isolated pods: ${name}`,
      `${median(connectUs).toFixed(1)} us, ${(median(bitsPerSecond) / 1e9).toFixed(2)} Gbit/s`,
    ]),
    ["ADD without policies", ms(adds.withoutMs, 2)],
    ["ADD with policies", ms(adds.reusedMs, 2)],
    ["ADD with policies, first use of the address", ms(adds.firstMs, 2)],
    ["load of the machine before, after", `${load.before.toFixed(2)}, ${load.after.toFixed(2)}`],
  );
  const head = ["Bound", "measured", "at most", ""];
  const bounds = new Table({ style, head, colAligns: ["left", "right", "right"] });
  for (const { name, measured, limit, isKept } of boundsOf(report)) {
    bounds.push([name, measured.toFixed(3), String(limit), isKept ? "kept" : "exceeded"]);
  }
  return `${figures}\n${bounds}`;
}
