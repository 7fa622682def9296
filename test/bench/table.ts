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

/** `isWide` adds the worst percentile and the peak resident memory. */
export function formatReport({ title, note, rounds, rows, ...report }: CaseReport, isWide: boolean): string {
  const sides = report.sides.map(({ name }) => name);
  const subject = sides.at(-1);
  const others = sides.slice(0, -1).toReversed();
  const table = makeTable([
    "",
    ...sides,
    ...(isWide ? sides.flatMap((side) => [`${side}\nworst 1 %`, `${side}\nmemory`]) : []),
    ...others.flatMap((side) => [`${subject} /\n${side}`, "bound"]),
  ]);
  const isMeasure = (name: string) => !name.includes(" ");
  for (const { name, unit, sides: figures, ratios } of rows)
    table.push([
      isMeasure(name) ? name : `  ${name.slice(name.indexOf(" ") + 1)}`,
      ...sides.map((side) => formatValue(unit, figures[side]?.median)),
      ...(isWide ? sides.flatMap((side) => formatWide(unit, figures[side])) : []),
      ...ratios.flatMap((ratio) => formatRatio(ratio, unit)),
    ]);
  return `${styled("bold", title)}\n${note}; medians of ${rounds} ${rounds === 1 ? "round" : "rounds"}\n${table.toString()}\n`;
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

function formatWide(unit: Row["unit"], figures: Figures | undefined): string[] {
  return [
    formatValue(unit, figures?.worst),
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
