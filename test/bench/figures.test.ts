import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type BenchReport, chartsOf, type PlotFigures, replaceCases } from "./figures.ts";
import { withFigures } from "./readme.ts";
import type { CaseReport } from "./report.ts";

const FIGURES = JSON.parse(
  readFileSync(new URL("../../docs/plots/figures.json", import.meta.url), "utf8"),
) as PlotFigures;

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

function caseOf(name: string, median: number): CaseReport {
  const rows = [{ name: "ADD", unit: "ms" as const, sides: { weft: { median, worst: median } }, ratios: [] }];
  return { ...{ name, title: name, note: "", rounds: 1 }, sides: [{ name: "weft", program: "weft" }], rows };
}

const OLDER: BenchReport = {
  machine: "old",
  cases: [caseOf("bridge", 1), caseOf("chain", 2)],
  resources: [],
};

test("a measured case takes the place of its earlier figures, and others stay", () => {
  const { machine, cases } = replaceCases(OLDER, { machine: "new", cases: [caseOf("bridge", 3)], resources: [] });
  expect(machine).toBe("new");
  expect(cases.map(({ name, rows }) => [name, rows[0]?.sides.weft?.median])).toEqual([
    ["chain", 2],
    ["bridge", 3],
  ]);
});

test("each chart of the stored figures has a value for each group and side", () => {
  for (const [name, { groups, series }] of Object.entries(chartsOf(FIGURES))) {
    expect(series.length, name).toBeGreaterThan(1);
    for (const { values } of series) {
      expect(values, name).toHaveLength(groups.length);
      for (const value of values) expect(value, name).toBeGreaterThan(0);
    }
  }
});

test("a chart's texts fit its width", () => {
  for (const [name, { title, subtitle }] of Object.entries(chartsOf(FIGURES)))
    for (const text of [title, subtitle]) expect(text.length, name).toBeLessThan(116);
});

test("README.md shows each chart and has the stored figures", () => {
  for (const name of Object.keys(chartsOf(FIGURES))) expect(README).toContain(`(docs/plots/${name}.svg)`);
  expect(withFigures(README, FIGURES)).toBe(README);
});

test("the figures of README.md replace earlier ones and nothing else", () => {
  const [first = ""] = README.match(/\| ADD of `bridge` with `host-local` \|.*\n/) ?? [];
  expect(first).not.toBe("");
  expect(withFigures(README.replace(first, "| old |\n"), FIGURES)).toBe(README);
  expect(() => withFigures("no figures", FIGURES)).toThrow("README.md lacks");
});

test("a missing row is an error that names the command", () => {
  expect(() => chartsOf({ ...FIGURES, executables: OLDER })).toThrow(
    "the figures lack VERSION of start: run npm run bench -- plots --case start",
  );
});
