/**
 * Prints the slowest test files of a run, and the number of tests that passed, failed and were skipped, from Vitest's JSON
 * reports: `node hack/summary.ts FOLDER`, with a report PROJECT.json for each project. Ends with status 1 if CI=true and a
 * test was skipped.
 */
import { readdirSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { pathToFileURL } from "node:url";
import Table from "cli-table3";

const SLOWEST = 10;

/** The part of Vitest's JSON report that is read here. */
export interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** A test file each. Times are in milliseconds, from the start of the first test to the end of the last one. */
  readonly testResults: readonly {
    readonly name: string;
    readonly startTime: number;
    readonly endTime: number;
    readonly assertionResults: readonly unknown[];
  }[];
}

/** Returns the reports in a folder, by project. */
export function readReports(folder: string): Map<string, Report> {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return new Map(
    names.map((name) => [name.replace(/\.json$/, ""), JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as Report]),
  );
}

export interface SlowFile {
  readonly path: string;
  readonly project: string;
  readonly tests: number;
  readonly seconds: number;
}

/** Returns the `count` slowest test files of all projects, the slowest first, with paths relative to `root`. */
export function slowestFiles(reports: ReadonlyMap<string, Report>, root: string, count = SLOWEST): SlowFile[] {
  const files = [...reports].flatMap(([project, { testResults }]) =>
    testResults.map(({ name, startTime, endTime, assertionResults }) => ({
      path: relative(root, name),
      project,
      tests: assertionResults.length,
      seconds: (endTime - startTime) / 1000,
    })),
  );
  return files.sort((one, other) => other.seconds - one.seconds).slice(0, count);
}

export interface Summary {
  readonly text: string;
  readonly skipped: number;
}

/** Returns the closing lines of a run: the table of the slowest files, and the counts. */
export function summarize(reports: ReadonlyMap<string, Report>, root: string): Summary {
  const sum = (count: (report: Report) => number) =>
    [...reports.values()].reduce((total, report) => total + count(report), 0);
  const skipped = sum(({ numPendingTests, numTodoTests }) => numPendingTests + numTodoTests);
  const counts = `${sum((report) => report.numPassedTests)} passed, ${sum((report) => report.numFailedTests)} failed`;
  const slowest = slowestFiles(reports, root);
  const parts = [
    ...(slowest.length > 0 ? [`The slowest test files:\n${tableOf(slowest)}`] : []),
    ...(skipped > 0 ? [`${skipped} tests were SKIPPED: their messages above say why`] : []),
    counts,
  ];
  return { text: parts.join("\n\n"), skipped };
}

function tableOf(files: readonly SlowFile[]): string {
  const table = new Table({
    head: ["test file", "project", "tests", "seconds"],
    colAligns: ["left", "left", "right", "right"],
    style: { head: [], border: [], compact: true },
  });
  for (const { path, project, tests, seconds } of files) table.push([path, project, tests, seconds.toFixed(1)]);
  return table.toString();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { text, skipped } = summarize(readReports(process.argv[2] ?? ""), process.cwd());
  console.log(`\n${text}`);
  if (skipped > 0 && process.env.CI === "true") process.exitCode = 1;
}
