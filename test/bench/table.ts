/** Prints reports as tables. */
import { styleText } from "node:util";
import Table from "cli-table3";
import { PROGRAMS } from "./case.ts";
import type { CaseReport, Figures, Ratio, Row, Unit } from "./report.ts";
import { isRate } from "./report.ts";
import type { Resource } from "./resources.ts";

type Style = Parameters<typeof styleText>[0];

/** Plain text if standard output has no colours (NO_COLOR, a pipe). */
function styled(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** `isWide` adds a table with the worst percentile, the processor time and the peak resident memory. */
export function formatReport(report: CaseReport, isWide: boolean): string {
  const { title, note, rounds } = report;
  const heading = `${styled("bold", title)}\n${note}; medians of ${rounds} ${rounds === 1 ? "round" : "rounds"}`;
  return [heading, formatMedians(report), ...(isWide ? [formatDetails(report)] : []), ""].join("\n");
}

function formatMedians({ sides, rows }: CaseReport): string {
  const subject = sides.at(-1)?.name;
  const others = sides.slice(0, -1).toReversed();
  const table = makeTable([
    "",
    ...sides.map(({ name }) => name),
    ...others.flatMap(({ name }) => [`${subject} /\n${name}`, "bound"]),
  ]);
  for (const row of rows)
    table.push([
      formatName(row),
      ...sides.map(({ name }) => formatValue(row.unit, row.sides[name]?.median)),
      ...row.ratios.flatMap((ratio) => formatRatio(ratio, row.unit)),
    ]);
  return table.toString();
}

function formatDetails({ sides, rows }: CaseReport): string {
  const columns = ["worst 1 %", "processor", "memory"];
  const table = makeTable(["", ...sides.flatMap(({ name }) => columns.map((column) => `${name}\n${column}`))]);
  for (const row of rows)
    table.push([formatName(row), ...sides.flatMap(({ name }) => formatDetail(row.unit, row.sides[name]))]);
  return table.toString();
}

/** Rows of single plugins are indented below their chain. */
function formatName({ name }: Row): string {
  const space = name.indexOf(" ");
  return space < 0 ? name : `  ${name.slice(space + 1)}`;
}

export function formatResources(resources: readonly Resource[]): string {
  const table = makeTable(["", ...PROGRAMS, "bound"]);
  for (const { name, mib, limitMib, isKept } of resources)
    table.push([
      name,
      ...PROGRAMS.map((program) => formatValue("MiB", mib[program])),
      formatBound(`<= ${limitMib} MiB`, isKept),
    ]);
  return `${styled("bold", "Space and memory")}\n${table.toString()}\n`;
}

function makeTable(head: string[]): InstanceType<typeof Table> {
  return new Table({
    head,
    colAligns: head.map((_, at) => (at === 0 ? "left" : "right")),
    style: { head: [], border: [], compact: true },
  });
}

function formatValue(unit: Unit, value: number | undefined): string {
  if (value === undefined) return "";
  return `${value.toFixed(isRate(unit) ? 0 : 2)} ${unit}`;
}

function formatDetail(unit: Unit, figures: Figures | undefined): string[] {
  return [
    formatValue(unit, figures?.worst),
    formatValue("ms", figures?.cpuMs),
    formatValue("MiB", figures?.peakKib === undefined ? undefined : figures.peakKib / 1024),
  ];
}

function formatRatio({ ratio, limit, isKept }: Ratio, unit: Unit): string[] {
  if (limit === undefined) return [ratio.toFixed(2), ""];
  return [ratio.toFixed(2), formatBound(`${isRate(unit) ? ">=" : "<="} ${limit}`, isKept)];
}

function formatBound(bound: string, isKept: boolean): string {
  return styled(isKept ? "green" : "red", `${bound} ${isKept ? "kept" : "EXCEEDED"}`);
}
