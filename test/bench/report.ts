/** Evaluates the samples: a row for each measure, and whether the bounds hold. */
import type { BenchCase, Bound, Call, Sample } from "./case.ts";
import { median, quantile } from "./statistics.ts";

/** Times of one side, in milliseconds. */
export interface Figures {
  readonly medianMs: number;
  readonly p99Ms: number;
  /** The median of the peak resident memory of the largest process. */
  readonly peakKib: number;
}

export interface Ratio extends Bound {
  /** The last side's median over the other side's. */
  readonly ratio: number;
  readonly isKept: boolean;
}

export interface Row {
  readonly name: string;
  /** By side. */
  readonly sides: Readonly<Record<string, Figures>>;
  /** The ratio to each other side; `limit` is infinite if there is no bound. */
  readonly ratios: readonly (Omit<Ratio, "limit"> & { readonly limit: number | undefined })[];
}

export interface CaseReport {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly rounds: number;
  readonly sides: readonly string[];
  readonly rows: readonly Row[];
}

/** `samples` belong to `calls`, in the same order. */
export function makeReport(benchCase: BenchCase, calls: readonly Call[], samples: readonly Sample[]): CaseReport {
  const { name, title, note, sides, measures } = benchCase;
  const rows = measures.flatMap(({ row, steps }) => {
    if (row === undefined) return [];
    const rowOf = (rowName: string, isOf: (call: Call) => boolean): Row => {
      const figures = Object.fromEntries(
        sides.map((side) => [side.name, figuresOf(calls, samples, (call) => call.side === side && isOf(call))]),
      );
      return {
        name: rowName,
        sides: figures,
        ratios: ratiosOf(
          sides.map(({ name }) => name),
          figures,
          benchCase.bounds[rowName] ?? [],
        ),
      };
    };
    const whole = rowOf(row, ({ measure }) => measure.row === row);
    if (steps.length < 2) return [whole];
    const parts = steps.map((step) => rowOf(`${row} ${step.plugin}`, (call) => call.step === step));
    return [whole, ...parts];
  });
  const rounds = 1 + Math.max(...calls.map(({ round }) => round));
  return { name, title, note, rounds, sides: sides.map(({ name }) => name), rows };
}

/** Adds the times of each round's chosen calls. */
function figuresOf(calls: readonly Call[], samples: readonly Sample[], isChosen: (call: Call) => boolean): Figures {
  const rounds = new Map<number, Sample>();
  for (const [at, call] of calls.entries()) {
    const sample = samples[at];
    if (sample === undefined || !isChosen(call)) continue;
    const { milliseconds, peakKib } = rounds.get(call.round) ?? { milliseconds: 0, peakKib: 0 };
    rounds.set(call.round, {
      milliseconds: milliseconds + sample.milliseconds,
      peakKib: Math.max(peakKib, sample.peakKib),
    });
  }
  const chosen = [...rounds.values()];
  const times = chosen.map(({ milliseconds }) => milliseconds);
  return {
    medianMs: median(times),
    p99Ms: quantile(times, 0.99),
    peakKib: median(chosen.map(({ peakKib }) => peakKib)),
  };
}

function ratiosOf(
  sides: readonly string[],
  figures: Readonly<Record<string, Figures>>,
  bounds: readonly Bound[],
): Row["ratios"] {
  const subject = figures[sides.at(-1) ?? ""]?.medianMs ?? Number.NaN;
  return sides
    .slice(0, -1)
    .toReversed()
    .map((over) => {
      const ratio = subject / (figures[over]?.medianMs ?? Number.NaN);
      const limit = bounds.find((bound) => bound.over === over)?.limit;
      return { over, ratio, limit, isKept: limit === undefined || ratio <= limit };
    });
}

export function isKept({ rows }: CaseReport): boolean {
  return rows.every(({ ratios }) => ratios.every((ratio) => ratio.isKept));
}
