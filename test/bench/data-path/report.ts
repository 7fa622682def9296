/** The results of `npm run bench -- data-path`, and whether the bounds hold. */
import { styleText } from "node:util";
import Table from "cli-table3";
import type { Family } from "../../../pkg/ip/address.ts";
import { median } from "../statistics.ts";
import type { Mode } from "./hand-made.ts";

/**
 * What connects client and server. `bare` and `byHand` are made by hand, without and with rules. `routed` is weft with pods
 * attached by ptp instead of a bridge, and `full` is weft with Services and with policies that isolate both pods.
 */
export const SIDES = ["nodes", "bare", "byHand", "weft", "routed", "full"] as const;
export type Side = (typeof SIDES)[number];

export const SIDE_NAMES: Readonly<Record<Side, string>> = {
  nodes: "node to node",
  bare: "by hand, no rules",
  byHand: "by hand",
  weft: "weft",
  routed: "weft, ptp",
  full: "weft, Services, policies",
};

export const MEASURES = ["stream", "streams", "latency", "tail", "connections"] as const;
export type Measure = (typeof MEASURES)[number];

interface MeasureFacts {
  readonly name: string;
  readonly unit: string;
  /** The number of base units (bits per second, nanoseconds, connections per second) in one `unit`. */
  readonly scale: number;
  /** True if less is better. */
  readonly isTime: boolean;
  /** The worst allowed ratio of weft to the path made by hand. Without one, the measure varies too much. */
  readonly bound?: number;
}

export const MEASURE_FACTS: Readonly<Record<Measure, MeasureFacts>> = {
  stream: { name: "TCP, 1 stream", unit: "Gbit/s", scale: 1e9, isTime: false, bound: 0.99 },
  streams: { name: "TCP, 8 streams", unit: "Gbit/s", scale: 1e9, isTime: false, bound: 0.99 },
  latency: { name: "request, median", unit: "us", scale: 1e3, isTime: true, bound: 1.02 },
  tail: { name: "request, p99", unit: "us", scale: 1e3, isTime: true },
  connections: { name: "new connections", unit: "1/s", scale: 1, isTime: false, bound: 0.99 },
};

/** One value of each round, in base units. */
export type Samples = Readonly<Record<Side, Readonly<Record<Measure, readonly number[]>>>>;

export interface Ratio {
  /** The median of the rounds' ratios. */
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export interface Row {
  readonly mode: Mode;
  readonly family: Family;
  readonly measure: Measure;
  readonly unit: string;
  /** Medians, in `unit`. */
  readonly values: Readonly<Record<Side, number>>;
  /** The path made by hand, with rules, to node to node. */
  readonly handToNodes: Ratio;
  /** weft to the path made by hand with rules. */
  readonly weftToHand: Ratio;
  readonly routedToHand: Ratio;
  readonly fullToHand: Ratio;
  readonly bound: number | undefined;
  /** True if weft's median is within the bound, or if there is no bound. */
  readonly isKept: boolean;
}

export interface DataPathReport {
  readonly rounds: number;
  readonly rows: readonly Row[];
}

/** Returns the ratio of two sides that were measured alternately: the values of one round belong together. */
export function ratioOf(values: readonly number[], base: readonly number[]): Ratio {
  const ratios = values.map((value, at) => value / (base[at] ?? Number.NaN));
  return { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
}

export function rowsOf(mode: Mode, family: Family, samples: Samples): readonly Row[] {
  return MEASURES.map((measure): Row => {
    const { unit, scale, isTime, bound } = MEASURE_FACTS[measure];
    const of = (side: Side) => samples[side][measure];
    const values = Object.fromEntries(SIDES.map((side) => [side, median(of(side)) / scale])) as Row["values"];
    const weftToHand = ratioOf(of("weft"), of("byHand"));
    const isKept = bound === undefined || (isTime ? weftToHand.median <= bound : weftToHand.median >= bound);
    return {
      ...{ mode, family, measure, unit, values, weftToHand, bound, isKept },
      handToNodes: ratioOf(of("byHand"), of("nodes")),
      routedToHand: ratioOf(of("routed"), of("byHand")),
      fullToHand: ratioOf(of("full"), of("byHand")),
    };
  });
}

export function formatDataPath({ rounds, rows }: DataPathReport): string {
  const ratios = ["by hand /\nnodes", "weft /\nby hand", "ptp /\nby hand", "all /\nby hand"];
  const table = new Table({
    head: ["", ...SIDES.map((side) => SIDE_NAMES[side].replace(", ", ",\n")), ...ratios],
    colAligns: ["left", ...[...SIDES, ...ratios].map(() => "right" as const)],
    style: { head: [], border: [] },
  });
  for (const { mode, family, measure, unit, values, ...row } of rows)
    table.push([
      `${mode}, IPv${family}:\n${MEASURE_FACTS[measure].name}`,
      ...SIDES.map((side) => `${told(values[side])}\n${unit}`),
      ...[row.handToNodes, row.weftToHand, row.routedToHand, row.fullToHand].map((ratio) => ratio.median.toFixed(3)),
    ]);
  return [
    `${rounds} rounds, all sides alternating; medians, and medians of the rounds' ratios`,
    table.toString(),
    ...rows.filter(({ bound }) => bound !== undefined).map(formatBound),
  ].join("\n");
}

function formatBound({ mode, family, measure, weftToHand, bound = 0, isKept }: Row): string {
  const { name, isTime } = MEASURE_FACTS[measure];
  const what = `${mode}, IPv${family}, ${name}: weft ${weftToHand.median.toFixed(3)} of by hand`;
  const text = `${what}, at ${isTime ? "most" : "least"} ${bound.toFixed(2)}: ${isKept ? "kept" : "EXCEEDED"}`;
  return styleText(isKept ? "green" : "red", text, { stream: process.stdout });
}

/** Three significant digits; whole numbers above 100. */
function told(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
