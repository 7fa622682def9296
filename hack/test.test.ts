/** hack/test itself, with stand-ins for the set-up, the build, the linter, the compiler and Vitest. */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/weft-test-`);
  mkdirSync(`${folder}/hack`);
  symlinkSync(resolve("node_modules"), `${folder}/node_modules`);
  for (const name of ["test", "summary.ts"]) copyFileSync(`hack/${name}`, `${folder}/hack/${name}`);
  for (const [name, script] of Object.entries(STAND_INS)) {
    writeFileSync(`${folder}/hack/${name}`, `#!/bin/sh\n${script}`);
    chmodSync(`${folder}/hack/${name}`, 0o755);
  }
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Each says its words, and fails if $FAIL is one of them. Vitest writes a report of one test. */
const FAIL = 'for word in "$@"; do [ "$word" != "$FAIL" ] || exit 3; done';
const STAND_INS = {
  setup: "exit 0",
  build: `set -- build "$@"\necho "$@"\n${FAIL}`,
  "in-node": `cd "\${0%/*}/.."
case $1 in
node) shift; exec ${process.execPath} "$@" ;;
vitest) echo "$1 $4 fuzz=\${WEFT_FUZZ:-no}" ; echo "$REPORT" >".cache/reports/$4.json" ;;
*) echo "$@" ;;
esac
${FAIL}`,
};

const REPORT = JSON.stringify({
  ...{ numPassedTests: 1, numFailedTests: 0, numPendingTests: 1, numTodoTests: 0 },
  testResults: [{ name: "a.test.ts", startTime: 0, endTime: 2000, assertionResults: [{}, {}] }],
});

/** Returns the lines of output, without empty ones, the table and the seconds of steps. */
function run(part: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { status, stdout } = spawnSync("sh", [`${folder}/hack/test`, ...part], {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin", FAIL: "", REPORT, ...env },
  });
  const lines = stdout.split("\n").filter((line) => line !== "" && !/^[┌├└│]/.test(line));
  return { status, stdout, lines: lines.map((line) => line.replace(/ in \d+ s$/, "")) };
}

const ENDING = ["The slowest test files:", "1 tests were SKIPPED: their messages above say why", "1 passed, 0 failed"];

test("all parts run, each with its whole output under its heading, and the slowest files at the end", () => {
  const { status, stdout, lines } = run([]);
  expect(lines).toEqual([
    ...["== format and lint", "biome ci .", "== format and lint: done", "== types", "tsc", "== types: done"],
    ...["== build", "build", "== build: done"],
    ...["== build for arm64", "build --arch arm64", "== build for arm64: done"],
    ...["== unit tests", "vitest unit fuzz=no", "== unit tests: done"],
    ...["== arm64 tests", "vitest arm64 fuzz=no", "== arm64 tests: done"],
    ...["== live tests", "vitest live fuzz=no", "== live tests: done"],
    ...ENDING.with(1, "3 tests were SKIPPED: their messages above say why").with(2, "3 passed, 0 failed"),
  ]);
  expect(stdout).toMatch(/│ +\S*a\.test\.ts +│ live +│ +2 +│ +2\.0 +│/);
  expect(status).toBe(0);
});

test("a step that fails keeps only those from running that need it", () => {
  const { status, lines } = run([], { FAIL: "build" });
  expect(lines).toEqual(
    expect.arrayContaining(["== build: FAILED", "== build for arm64: FAILED", "== unit tests: done"]),
  );
  expect(lines).toContain("== live tests: not run, since the build failed");
  expect(lines.at(-1)).toBe("failed: build; build for arm64");
  expect(status).toBe(1);
  const onlyArm64 = run([], { FAIL: "arm64" });
  expect(onlyArm64.lines).toEqual(expect.arrayContaining(["== live tests: done"]));
  expect(onlyArm64.lines.at(-1)).toBe("failed: build for arm64");
});

test.each([
  ["unit", ["== unit tests", "vitest unit fuzz=no", "== unit tests: done"]],
  [
    "fuzz",
    ["== unit tests with many random cases", "vitest unit fuzz=true", "== unit tests with many random cases: done"],
  ],
  [
    "policy",
    [
      ...["== build", "build", "== build: done"],
      ...["== truth tables of policies", "vitest live fuzz=no", "== truth tables of policies: done"],
    ],
  ],
  ["live", ["== build", "build", "== build: done", "== live tests", "vitest live fuzz=no", "== live tests: done"]],
])("%s runs its part alone", (part, lines) => {
  expect(run([part])).toMatchObject({ status: 0, lines: [...lines, ...ENDING] });
});

test("with CI=true a skipped test fails the run", () => {
  const { status, lines } = run(["unit"], { CI: "true" });
  expect([status, lines.at(-1)]).toEqual([1, "failed: skipped tests"]);
});
