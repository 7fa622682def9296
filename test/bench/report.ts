/** Evaluates the values of a case: a row for each measure, and whether the bounds hold. */
import type { BenchCase, Bound, Call, Program, Sample } from "./case.ts";
import { median, quantile } from "./statistics.ts";

export type Unit = "ms" | "per s" | "MiB";

/** The values of one row, by side. */
export interface Series {
  readonly row: string;
  readonly unit: Unit;
  readonly values: Readonly<Record<string, readonly number[]>>;
  /** The peak resident memory of the largest process of each round, in KiB. Absent if it is not measured. */
  readonly peaksKib?: Readonly<Record<string, readonly number[]>>;
  /** The processor time of each round, in milliseconds. Absent if it is not measured. */
  readonly cpuMs?: Readonly<Record<string, readonly number[]>>;
}

export interface Figures {
  readonly median: number;
  /** The 99th percentile of times, the first of rates. */
  readonly worst: number;
  readonly peakKib?: number;
  /** The median of the processor time, in milliseconds. */
  readonly cpuMs?: number;
}

/** The last side's median over that of another side. */
export interface Ratio {
  readonly over: string;
  readonly ratio: number;
  readonly limit?: number;
  /** True if there is no limit. */
  readonly isKept: boolean;
}

export interface Row {
  readonly name: string;
  readonly unit: Unit;
  readonly sides: Readonly<Record<string, Figures>>;
  readonly ratios: readonly Ratio[];
}

export interface CaseReport {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly rounds: number;
  /** The last one is compared with each of the others. */
  readonly sides: readonly { readonly name: string; readonly program: Program }[];
  readonly rows: readonly Row[];
}

/**
 * Adds the times of the calls of each measure and round. A measure with several steps also gets a row for each plugin.
 * `samples` belong to `calls`, in the same order.
 */
export function collect({ sides, measures }: BenchCase, calls: readonly Call[], samples: readonly Sample[]): Series[] {
  const seriesOf = (row: string, isOf: (call: Call) => boolean): Series => {
    const rounds = sides.map((side) => roundsOf(calls, samples, (call) => call.side === side && isOf(call)));
    const bySide = (pick: (sample: Sample) => number) =>
      Object.fromEntries(sides.map(({ name }, at) => [name, (rounds[at] ?? []).map(pick)]));
    return {
      ...{ row, unit: "ms" },
      values: bySide(({ milliseconds }) => milliseconds),
      peaksKib: bySide(({ peakKib }) => peakKib),
      cpuMs: bySide(({ cpuMilliseconds }) => cpuMilliseconds),
    };
  };
  return measures.flatMap((measure) => {
    const { row, steps } = measure;
    if (row === undefined) return [];
    const parts = steps.length > 1 ? steps : [];
    return [
      seriesOf(row, (call) => call.measure === measure),
      ...parts.map((step) => seriesOf(`${row} ${step.plugin}`, (call) => call.step === step)),
    ];
  });
}

const NOTHING: Sample = { milliseconds: 0, peakKib: 0, cpuMilliseconds: 0 };

/** A sample for each round: the sum of the times of the chosen calls, and the highest peak. */
function roundsOf(calls: readonly Call[], samples: readonly Sample[], isChosen: (call: Call) => boolean): Sample[] {
  const rounds: Sample[] = [];
  for (const [at, call] of calls.entries()) {
    const sample = samples[at];
    if (sample === undefined || !isChosen(call)) continue;
    const { milliseconds, peakKib, cpuMilliseconds } = rounds[call.round] ?? NOTHING;
    rounds[call.round] = {
      milliseconds: milliseconds + sample.milliseconds,
      peakKib: Math.max(peakKib, sample.peakKib),
      cpuMilliseconds: cpuMilliseconds + sample.cpuMilliseconds,
    };
  }
  return rounds;
}

/** `rates` are calls per second, one for each round, side and row. */
export function collectRates(
  { sides, measures }: BenchCase,
  rates: readonly { readonly side: string; readonly row: string; readonly perSecond: number }[],
): Series[] {
  return measures.flatMap(({ row }) => {
    if (row === undefined) return [];
    const values = sides.map(({ name }) => [
      name,
      rates.filter((rate) => rate.side === name && rate.row === row).map(({ perSecond }) => perSecond),
    ]);
    return [{ row, unit: "per s", values: Object.fromEntries(values) }];
  });
}

export function makeReport(benchCase: BenchCase, rounds: number, series: readonly Series[]): CaseReport {
  const { name, title, note } = benchCase;
  const sides = benchCase.sides.map((side) => ({ name: side.name, program: side.program }));
  const rows = series.map(({ row, unit, values, peaksKib, cpuMs }): Row => {
    const figures = sides.map(({ name: side }): [string, Figures] => [
      side,
      figuresOf(unit, values[side] ?? [], peaksKib?.[side], cpuMs?.[side]),
    ]);
    return {
      ...{ name: row, unit, sides: Object.fromEntries(figures) },
      ratios: ratiosOf(unit, figures, benchCase.bounds[row] ?? []),
    };
  });
  return { name, title, note, rounds, sides, rows };
}

function figuresOf(
  unit: Unit,
  values: readonly number[],
  peaksKib: readonly number[] | undefined,
  cpuMs: readonly number[] | undefined,
): Figures {
  return {
    median: median(values),
    worst: quantile(values, isRate(unit) ? 0.01 : 0.99),
    ...(peaksKib === undefined ? {} : { peakKib: median(peaksKib) }),
    ...(cpuMs === undefined ? {} : { cpuMs: median(cpuMs) }),
  };
}

/** The ratios to the other sides, the nearest side first. */
function ratiosOf(unit: Unit, figures: readonly (readonly [string, Figures])[], bounds: readonly Bound[]): Ratio[] {
  const [subject, ...others] = figures.toReversed();
  if (subject === undefined) return [];
  return others.map(([over, { median }]) => {
    const ratio = subject[1].median / median;
    const limit = bounds.find((bound) => bound.over === over)?.limit;
    if (limit === undefined) return { over, ratio, isKept: true };
    return { over, ratio, limit, isKept: isRate(unit) ? ratio >= limit : ratio <= limit };
  });
}

/** True if more is better. */
export function isRate(unit: Unit): boolean {
  return unit === "per s";
}

export function areBoundsKept({ rows }: CaseReport): boolean {
  return rows.every(({ ratios }) => ratios.every(({ isKept }) => isKept));
}
