/** Prints reports as tables. */
import { styleText } from "node:util";
import Table from "cli-table3";
import type { CaseReport, Figures, Row } from "./report.ts";

/** Plain text if the stream has no colours (NO_COLOR, a pipe). */
export function formatReport(report: CaseReport, isWide: boolean): string {
  const { title, note, rounds, sides, rows } = report;
  const others = sides.slice(0, -1).toReversed();
  const subject = sides.at(-1) ?? "";
  const table = new Table({
    head: [
      "",
      ...sides,
      ...(isWide ? sides.flatMap((side) => [`${side}\np99`, `${side}\nmemory`]) : []),
      ...others.flatMap((side) => [`${subject} /\n${side}`, "bound"]),
    ],
    colAligns: ["left", ...Array<"right">(99).fill("right")],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows)
    table.push([
      row.name.includes(" ") ? `  ${row.name.split(" ").slice(1).join(" ")}` : row.name,
      ...sides.map((side) => formatMs(row.sides[side]?.medianMs)),
      ...(isWide ? sides.flatMap((side) => formatWide(row.sides[side])) : []),
      ...row.ratios.flatMap(formatRatio),
    ]);
  return [
    styleText("bold", title, { stream: process.stdout }),
    `${note}; median of ${rounds}, alternating`,
    table.toString(),
  ].join("\n");
}

function formatMs(milliseconds: number | undefined): string {
  return milliseconds === undefined ? "" : `${milliseconds.toFixed(2)} ms`;
}

function formatWide(figures: Figures | undefined): string[] {
  return figures === undefined ? ["", ""] : [formatMs(figures.p99Ms), `${(figures.peakKib / 1024).toFixed(1)} MiB`];
}

function formatRatio({ ratio, limit, isKept }: Row["ratios"][number]): string[] {
  if (limit === undefined) return [ratio.toFixed(2), ""];
  const text = `${limit.toFixed(2)} ${isKept ? "kept" : "EXCEEDED"}`;
  return [ratio.toFixed(3), styleText(isKept ? "green" : "red", text, { stream: process.stdout })];
}
