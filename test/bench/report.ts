/** Evaluates the samples: a row for each verb, and whether the bounds hold. */
import { styleText } from "node:util";
import Table from "cli-table3";
import { SUBJECTS, type Subject } from "./bed.ts";
import { type Call, type Sample, SIDES, type Side, VERBS, type Verb } from "./call.ts";
import { median, quantile } from "./statistics.ts";

/**
 * The largest allowed ratio of the medians, weft to reference. `portmap` has no bounds: its calls mostly wait for the
 * kernel.
 */
const BOUNDS: Readonly<Record<Subject, Partial<Readonly<Record<Verb, number>>>>> = {
  bridge: { ADD: 0.4, VERSION: 0.4 },
  ptp: { ADD: 0.4, VERSION: 0.4 },
  "host-local": {},
  portmap: {},
};

export interface Figures {
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly peakKib: number;
}

export interface Row extends Record<Side, Figures> {
  readonly verb: Verb;
  /** The ratio of the medians, weft to reference. */
  readonly ratio: number;
  readonly bound: number | undefined;
  readonly isKept: boolean;
}

export interface Setting {
  readonly subject: Subject;
  /** The number of addresses reserved before the calls. */
  readonly inUse: number;
}

export interface Report extends Setting {
  readonly rounds: number;
  readonly rows: readonly Row[];
  /** Total size in bytes of the files to install for these calls. */
  readonly sizeBytes: Readonly<Record<Side, number>>;
}

export function makeReport(
  { subject, inUse }: Setting,
  calls: readonly Call[],
  samples: readonly Sample[],
  sizeBytes: Record<Side, number>,
): Report {
  const figures = (verb: Verb, side: Side): Figures => {
    const chosen = samples.filter((_, at) => calls[at]?.verb === verb && calls[at]?.side === side);
    const times = chosen.map(({ milliseconds }) => milliseconds);
    return {
      medianMs: median(times),
      p99Ms: quantile(times, 0.99),
      peakKib: median(chosen.map(({ peakKib }) => peakKib)),
    };
  };
  const rows = VERBS.map((verb): Row => {
    const [weft, reference] = [figures(verb, "weft"), figures(verb, "reference")];
    const ratio = weft.medianMs / reference.medianMs;
    const bound = BOUNDS[subject][verb];
    return { verb, weft, reference, ratio, bound, isKept: bound === undefined || ratio <= bound };
  });
  return { subject, inUse, rounds: calls.length / VERBS.length / SIDES.length, rows, sizeBytes };
}

/** Plain text if the stream has no colours (NO_COLOR, a pipe). */
export function formatTable({ subject, inUse, rounds, rows, sizeBytes }: Report): string {
  const table = new Table({
    head: [
      "",
      "weft\nmedian",
      "reference\nmedian",
      "weft\np99",
      "reference\np99",
      "weft\nmemory",
      "reference\nmemory",
      "ratio",
    ],
    colAligns: ["left", "right", "right", "right", "right", "right", "right", "right"],
    style: { head: [], border: [] },
  });
  for (const { verb, weft, reference, ratio } of rows)
    table.push([
      verb,
      ...[weft.medianMs, reference.medianMs, weft.p99Ms, reference.p99Ms].map((ms) => `${ms.toFixed(2)} ms`),
      ...[weft.peakKib, reference.peakKib].map((kib) => `${(kib / 1024).toFixed(1)} MiB`),
      ratio.toFixed(2),
    ]);
  const mib = (side: Side) => `${(sizeBytes[side] / 2 ** 20).toFixed(1)} MiB`;
  return [
    `${SUBJECTS[subject].join(" with ")}, ${rounds} calls of each kind, alternating${inUse > 0 ? `, ${inUse} addresses in use` : ""}`,
    table.toString(),
    "VERSION is little more than the start and end of the process. Memory: peak resident, median.",
    `size: weft ${mib("weft")} (all plugins), reference ${mib("reference")}`,
    ...rows.filter(({ bound }) => bound !== undefined).map(formatBound),
  ].join("\n");
}

function formatBound({ verb, ratio, bound = 0, isKept }: Row): string {
  const text = `${verb}: ${ratio.toFixed(3)} of the reference's time, bound ${bound.toFixed(2)}: ${isKept ? "kept" : "EXCEEDED"}`;
  return styleText(isKept ? "green" : "red", text, { stream: process.stdout });
}
