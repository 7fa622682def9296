import { expect, test } from "vitest";
import { type BenchCase, type Call, planBlocks, type Sample } from "./case.ts";
import { areBoundsKept, collect, collectRates, makeReport } from "./report.ts";
import { peaksOf } from "./resources.ts";
import { formatReport } from "./table.ts";

const LOAD = { reservations: 0, hostPorts: 0, foreignChains: 0 };
const ADD = { verb: "ADD", hasPrevious: false, keepsResult: true } as const;

/** A chain of two plugins, measured, and an unmeasured DEL. */
const CHAIN: BenchCase = {
  ...{ name: "chain", title: "A chain", note: "of two" },
  sides: [
    { name: "floor", program: "floor", index: 0, load: LOAD },
    { name: "weft", program: "weft", index: 1, load: LOAD },
  ],
  measures: [
    {
      row: "ADD",
      steps: [
        { ...ADD, plugin: "bridge" },
        { ...ADD, plugin: "portmap" },
      ],
    },
    { row: undefined, steps: [{ plugin: "bridge", verb: "DEL", hasPrevious: true, keepsResult: false }] },
  ],
  configure: () => ({}),
  bounds: { ADD: [{ over: "floor", limit: 3 }] },
};

/** On floor 1 ms for each call; on weft 2 ms for bridge and 3 ms for portmap, and 10 ms more in the last round. */
function sampleOf({ side, step, round }: Call): Sample {
  if (step.verb === "DEL") return { milliseconds: 1000, peakKib: 9999, cpuMilliseconds: 900 };
  if (side.name === "floor") return { milliseconds: 1, peakKib: 512, cpuMilliseconds: 0.5 };
  const milliseconds = (step.plugin === "bridge" ? 2 : 3) + (round === 2 ? 10 : 0);
  return { milliseconds, peakKib: step.plugin === "bridge" ? 3072 : 4096, cpuMilliseconds: 0.75 };
}

function reportOf(benchCase: BenchCase) {
  const calls = planBlocks(benchCase, 3).flat();
  return makeReport(benchCase, 3, collect(benchCase, calls, calls.map(sampleOf)));
}

test("a chain's time is the sum of its calls in each round, and each plugin has a row", () => {
  const { rows } = reportOf(CHAIN);
  expect(rows.map(({ name }) => name)).toEqual(["ADD", "ADD bridge", "ADD portmap"]);
  expect(rows.map(({ sides }) => sides.weft?.median)).toEqual([5, 2, 3]);
  expect(rows.map(({ sides }) => sides.floor?.median)).toEqual([2, 1, 1]);
  expect(rows[0]?.sides.weft?.worst).toBe(25);
});

test("the memory of a chain is that of its largest process", () => {
  const { rows } = reportOf(CHAIN);
  expect(rows.map(({ sides }) => sides.weft?.peakKib)).toEqual([4096, 3072, 4096]);
});

test("the processor time of a chain is the sum of its processes", () => {
  const { rows } = reportOf(CHAIN);
  expect(rows.map(({ sides }) => sides.weft?.cpuMs)).toEqual([1.5, 0.75, 0.75]);
  expect(rows[0]?.sides.floor?.cpuMs).toBe(1);
});

test("the ratio is that of the medians, and an exceeded bound makes the report fail", () => {
  const [kept, part] = reportOf(CHAIN).rows;
  expect(kept?.ratios).toEqual([{ over: "floor", ratio: 2.5, limit: 3, isKept: true }]);
  expect(part?.ratios).toEqual([{ over: "floor", ratio: 2, isKept: true }]);
  expect(areBoundsKept(reportOf(CHAIN))).toBe(true);
  const strict = { ...CHAIN, bounds: { ADD: [{ over: "floor", limit: 2.4 }] } };
  expect(reportOf(strict).rows[0]?.ratios).toEqual([{ over: "floor", ratio: 2.5, limit: 2.4, isKept: false }]);
  expect(areBoundsKept(reportOf(strict))).toBe(false);
});

test.each([
  [0.5, true],
  [0.6, false],
])("a rate of half the floor's with the bound %f is kept: %s", (limit, isKept) => {
  const benchCase = { ...CHAIN, bounds: { ADD: [{ over: "floor", limit }] } };
  const series = collectRates(benchCase, [
    { side: "floor", row: "ADD", perSecond: 200 },
    { side: "weft", row: "ADD", perSecond: 90 },
    { side: "weft", row: "ADD", perSecond: 100 },
    { side: "weft", row: "ADD", perSecond: 110 },
  ]);
  const report = makeReport(benchCase, 3, series);
  expect(report.rows[0]?.sides.weft).toEqual({ median: 100, worst: 90 });
  expect(report.rows[0]?.ratios).toEqual([{ over: "floor", ratio: 0.5, limit, isKept }]);
  expect(areBoundsKept(report)).toBe(isKept);
});

test("the peak memory is the highest of all ADDs, also on sides with other names", () => {
  const chain = reportOf(CHAIN);
  expect(peaksOf([chain])).toEqual({ floor: 0.5, weft: 4 });
  const full = { ...chain, sides: [{ name: "weft", program: "floor" } as const] };
  expect(peaksOf([chain, full])).toEqual({ floor: 4, weft: 4 });
});

test("the table shows times, ratios, and whether bounds are kept", () => {
  const lines = formatReport(reportOf(CHAIN), false).split("\n");
  expect(lines[0]).toContain("A chain");
  expect(lines[1]).toBe("of two; medians of 3 rounds");
  const cells = lines.map((line) => line.split("│").map((cell) => cell.trim()));
  expect(cells).toContainEqual(["", "ADD", "2.00 ms", "5.00 ms", "2.50", "<= 3 kept", ""]);
  expect(cells).toContainEqual(["", "portmap", "1.00 ms", "3.00 ms", "3.00", "", ""]);
});

test("the second of two wide tables shows the slowest calls, processor time and memory", () => {
  const cells = formatReport(reportOf(CHAIN), true)
    .split("\n")
    .map((line) => line.split("│").map((cell) => cell.trim()));
  expect(cells).toContainEqual(["", "ADD", "2.00 ms", "5.00 ms", "2.50", "<= 3 kept", ""]);
  const details = ["2.00 ms", "1.00 ms", "0.50 MiB", "25.00 ms", "1.50 ms", "4.00 MiB"];
  expect(cells).toContainEqual(["", "ADD", ...details, ""]);
});
