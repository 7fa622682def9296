/** What the samples say: a row for each verb, and whether the promises were kept. */
import { styleText } from "node:util";
import Table from "cli-table3";
import { SUBJECTS, type Subject } from "./bed.ts";
import { type Call, type Sample, SIDES, type Side, VERBS, type Verb } from "./call.ts";
import { median, quantile } from "./statistics.ts";

/** ours / theirs, at most; of medians. Those of `portmap` wait for the kernel more than they compute, and have none. */
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
  /** Of the medians, ours to theirs. */
  readonly ratio: number;
  readonly bound: number | undefined;
  readonly isKept: boolean;
}

export interface Setting {
  readonly subject: Subject;
  /** Addresses reserved beforehand. */
  readonly inUse: number;
}

export interface Report extends Setting {
  readonly rounds: number;
  readonly rows: readonly Row[];
  /** Bytes of what has to be installed for these calls. */
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

/** Plain words where the stream shows no colour (NO_COLOR, a pipe). */
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
    `${SUBJECTS[subject].join(" with ")}, ${rounds} calls of each kind, in turn${inUse > 0 ? `, ${inUse} addresses in use` : ""}`,
    table.toString(),
    "VERSION is start and end of the process and little else. Memory: most resident at once, median.",
    `size: weft ${mib("weft")} (every plugin), reference ${mib("reference")}`,
    ...rows.filter(({ bound }) => bound !== undefined).map(formatBound),
  ].join("\n");
}

function formatBound({ verb, ratio, bound = 0, isKept }: Row): string {
  const text = `${verb}: ${ratio.toFixed(3)} of the reference's time, bound ${bound.toFixed(2)}: ${isKept ? "kept" : "MISSED"}`;
  return styleText(isKept ? "green" : "red", text, { stream: process.stdout });
}
