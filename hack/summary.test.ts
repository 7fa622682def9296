import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Report, readReports, slowestFiles, summarize } from "./summary.ts";

/** A report of files, each with its seconds and its number of tests. */
function report(files: Readonly<Record<string, readonly [seconds: number, tests: number]>>, skipped = 0): Report {
  const testResults = Object.entries(files).map(([path, [seconds, tests]]) => ({
    name: `/repository/${path}`,
    startTime: 5000,
    endTime: 5000 + seconds * 1000,
    assertionResults: Array(tests).fill({}),
  }));
  const total = testResults.reduce((sum, { assertionResults }) => sum + assertionResults.length, 0);
  return {
    numPassedTests: total - skipped - 1,
    numFailedTests: 1,
    numPendingTests: skipped,
    numTodoTests: 0,
    testResults,
  };
}

const UNIT = report({ "pkg/a.test.ts": [0.5, 3], "pkg/b.test.ts": [9.04, 20] });
const LIVE = report({ "test/c.live.test.ts": [70, 4], "test/d.live.test.ts": [1.26, 2] }, 2);

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/weft-summary-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("lists the slowest files of all projects, the slowest first", () => {
  const reports = new Map([
    ["unit", UNIT],
    ["live", LIVE],
  ]);
  expect(slowestFiles(reports, "/repository", 3)).toEqual([
    { path: "test/c.live.test.ts", project: "live", tests: 4, seconds: 70 },
    { path: "pkg/b.test.ts", project: "unit", tests: 20, seconds: 9.04 },
    { path: "test/d.live.test.ts", project: "live", tests: 2, seconds: 1.26 },
  ]);
});

test("the text has ten files in a table, and the counts of all projects", () => {
  const many = Object.fromEntries([...Array(12).keys()].map((at) => [`pkg/${at}.test.ts`, [at + 1, 1]] as const));
  const { text } = summarize(
    new Map([
      ["unit", report(many)],
      ["live", LIVE],
    ]),
    "/repository",
  );
  const rows = text.split("\n").filter((line) => line.includes(".test.ts"));
  expect(rows.map((line) => line.split("│").map((cell) => cell.trim())).slice(0, 2)).toEqual([
    ["", "test/c.live.test.ts", "live", "4", "70.0", ""],
    ["", "pkg/11.test.ts", "unit", "1", "12.0", ""],
  ]);
  expect(rows).toHaveLength(10);
  expect(text).toContain("2 tests were SKIPPED");
  expect(text).toMatch(/\n14 passed, 2 failed$/);
});

test("without a skipped test, and without a report, the text says neither", () => {
  expect(summarize(new Map([["unit", UNIT]]), "/repository").text).not.toContain("SKIPPED");
  expect(summarize(new Map(), "/repository").text).toBe("0 passed, 0 failed");
});

test("reads each report of a folder under its project's name", () => {
  writeFileSync(`${folder}/unit.json`, JSON.stringify(UNIT));
  writeFileSync(`${folder}/lint.log`, "no report");
  expect(readReports(folder)).toEqual(new Map([["unit", UNIT]]));
});

test.each([
  ["true", LIVE, 1],
  ["true", UNIT, 0],
  ["", LIVE, 0],
] as const)("with CI=%j the command fails only if a test was skipped", (CI, one, status) => {
  writeFileSync(`${folder}/live.json`, JSON.stringify(one));
  const outcome = spawnSync(process.execPath, ["hack/summary.ts", folder], { encoding: "utf8", env: { CI } });
  expect(outcome).toMatchObject({ status, stdout: expect.stringContaining("passed, 1 failed\n") });
});
