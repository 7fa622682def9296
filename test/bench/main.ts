/** `npm run bench`: compares the executables with the reference plugins and with floors, in one run, on one machine. */
import { Command, InvalidArgumentError, Option } from "commander";
import { Bed } from "./bed.ts";
import { type BenchCase, planCalls } from "./case.ts";
import { CASES } from "./cases.ts";
import { compileAll } from "./compile.ts";
import { type CaseReport, isKept, makeReport } from "./report.ts";
import { formatReport } from "./table.ts";

interface Options {
  readonly runs: number;
  readonly warmUp: number;
  readonly case?: readonly string[];
  readonly output: "table" | "wide" | "json";
}

const EXAMPLES = `
Cases:
${CASES.map(({ name, title, note }) => `  ${name.padEnd(12)}${title}: ${note}`).join("\n")}

Examples:
  npm run bench
  npm run bench -- --case bridge --runs 500
  npm run bench -- --case start --case chain -o wide
  npm run -s bench -- -o json | jq '.cases[].rows[] | {name, ratios}'

Exits with 1 if a bound is exceeded. NO_COLOR=1 disables colours.`;

const options = new Command("bench")
  .description(
    "Measures the reference plugins, floors and weft in turns. A floor is a C program that issues just the kernel requests of its case: the least time of the case on this machine.",
  )
  .addOption(
    new Option("--case <name>", "measure this case only; may be given several times")
      .choices(CASES.map(({ name }) => name))
      .argParser((name: string, names: readonly string[] = []) => [...names, parseCase(name)]),
  )
  .addOption(new Option("--runs <n>", "measure this many rounds of each case").default(100).argParser(parseCount(1)))
  .addOption(new Option("--warm-up <n>", "make this many unmeasured rounds first").default(5).argParser(parseCount(1)))
  .addOption(
    new Option("-o, --output <form>", "output format; wide adds the 99th percentile and the peak resident memory")
      .choices(["table", "wide", "json"])
      .default("table"),
  )
  .addHelpText("after", EXAMPLES)
  .parse()
  .opts<Options>();

try {
  compileAll();
  const reports: CaseReport[] = [];
  for (const benchCase of CASES.filter(({ name }) => options.case?.includes(name) ?? true)) {
    const report = await measure(benchCase, options);
    reports.push(report);
    if (options.output !== "json") console.log(`${formatReport(report, options.output === "wide")}\n`);
  }
  if (options.output === "json") console.log(JSON.stringify({ cases: reports }, undefined, 2));
  process.exitCode = reports.every(isKept) ? 0 : 1;
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function measure(benchCase: BenchCase, { runs, warmUp }: Options): Promise<CaseReport> {
  const bed = new Bed(benchCase);
  try {
    await bed.run(planCalls(benchCase, warmUp));
    const calls = planCalls(benchCase, runs);
    const samples = await bed.run(calls, (count) => showProgress(benchCase.name, count / calls.length));
    return makeReport(benchCase, calls, samples);
  } finally {
    showProgress(benchCase.name, undefined);
    bed.close();
  }
}

/** Shows the share on a terminal; undefined clears the line. */
function showProgress(name: string, share: number | undefined): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r\x1b[K${share === undefined ? "" : `${name}: ${Math.floor(100 * share)} %`}`);
}

function parseCase(name: string): string {
  if (CASES.some((benchCase) => benchCase.name === name)) return name;
  throw new InvalidArgumentError(`expected one of ${CASES.map((benchCase) => benchCase.name).join(", ")}.`);
}

function parseCount(least: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!Number.isInteger(count) || count < least || count > 100_000)
      throw new InvalidArgumentError(`expected a whole number from ${least} to 100000.`);
    return count;
  };
}
