/** The plots of `npm run bench -- data-path`, from its results. */
import type { Chart } from "../chart.ts";
import { type DataPathReport, MEASURE_FACTS, type Measure, type Row, type Side } from "./report.ts";

/** What docs/plots/data-path.json stores. */
export interface StoredReport extends DataPathReport {
  /** The machine, in a few words. */
  readonly where: string;
}

const SHOWN = [
  { side: "nodes", name: "node to node", colour: "floor" },
  { side: "byHand", name: "by hand", colour: "other" },
  { side: "weft", name: "weft", colour: "weft" },
] as const satisfies readonly {
  readonly side: Side;
  readonly name: string;
  readonly colour: Chart["series"][number]["colour"];
}[];

const PLOTS: Readonly<Record<string, { readonly measure: Measure; readonly title: string }>> = {
  "data-path-stream": { measure: "stream", title: "TCP between pods of two nodes, one stream" },
  "data-path-latency": { measure: "latency", title: "Request of one byte between pods of two nodes, median" },
};

/** Returns the charts by the names of their files. */
export function dataPathCharts({ rounds, rows, where }: StoredReport): Readonly<Record<string, Chart>> {
  const entries = Object.entries(PLOTS).map(([name, { measure, title }]): [string, Chart] => {
    const shown = rows.filter((row) => row.measure === measure);
    return [
      name,
      {
        title,
        subtitle: `medians of ${rounds} rounds, alternating; namespaces of one machine; ${where}`,
        unit: MEASURE_FACTS[measure].unit,
        groups: shown.map(({ mode, family }) => `${mode}, IPv${family}`),
        series: SHOWN.map(({ side, ...series }) => ({ ...series, values: shown.map(({ values }) => values[side]) })),
      },
    ];
  });
  return Object.fromEntries(entries);
}

/** Returns `stored` with its rows of the same backend and family replaced by those of `rows`. */
export function replaceRows(stored: readonly Row[], rows: readonly Row[]): readonly Row[] {
  const isReplaced = ({ mode, family }: Row) => rows.some((row) => row.mode === mode && row.family === family);
  return [...stored.filter((row) => !isReplaced(row)), ...rows];
}
