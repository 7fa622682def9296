/** `npm run bench`: compares the executables with the reference plugins and with floors, in one run, on one machine. */
import { cpus, release } from "node:os";
import { Command, InvalidArgumentError, Option } from "commander";
import { Cleanup } from "../live/harness/cleanup.ts";
import { FOLDERS } from "./bed.ts";
import { CASES } from "./cases.ts";
import { compileAll } from "./compile.ts";
import type { BenchReport } from "./figures.ts";
import { measure } from "./measure.ts";
import { areBoundsKept, type CaseReport, makeReport } from "./report.ts";
import { resourcesOf, sizesOf } from "./resources.ts";
import { formatReport, formatResources } from "./table.ts";

interface Options {
  readonly runs: number;
  readonly warmUp: number;
  readonly case?: readonly string[];
  readonly output: "table" | "wide" | "json";
}

const DESCRIPTION = [
  "Measures the reference plugins, floors and weft on this machine, in turns.",
  "A floor is a C program that issues just the kernel requests of its case, without checks or repair. The ratio weft / floor is comparable between machines. The ratio weft / reference also depends on how the machine runs the reference's processes.",
].join("\n\n");

const EXAMPLES = `
Cases:
${CASES.map(({ name, title }) => `  ${name.padEnd(16)}${title}`).join("\n")}

A time is from the start of a process until it has ended. The time of a chain is the sum of its processes. The case
"parallel" has a round for each 20 runs. DEL waits for the kernel, for a time that varies: compare it
with 100 runs, or by its processor time (-o wide).

Examples:
  npm run bench                                    all cases: ten minutes, on a machine that does nothing else
  npm run bench -- --case bridge --case chain --runs 20
  npm run bench -- --case chain -o wide            also the slowest calls, processor time, memory
  npm run -s bench -- -o json | jq '.cases[].rows[] | {name, ratios}'

The status is 1 if a bound is exceeded. NO_COLOR=1 disables colours.`;

const options = new Command("bench")
  .description(DESCRIPTION)
  .addOption(
    new Option("--case <name>", "measure this case; may be given several times (default: all cases)").argParser(
      (name: string, names: readonly string[] = []) => [...names, parseCase(name)],
    ),
  )
  .addOption(new Option("--runs <n>", "measure this many rounds of each case").default(100).argParser(parseCount(1)))
  .addOption(new Option("--warm-up <n>", "make this many unmeasured rounds first").default(5).argParser(parseCount(1)))
  .addOption(
    new Option("-o, --output <form>", "output format; wide adds the slowest of 100 calls, processor time and memory")
      .choices(["table", "wide", "json"])
      .default("table"),
  )
  .addHelpText("after", EXAMPLES)
  .parse()
  .opts<Options>();

const cleanup = new Cleanup();
// The clean-up is synchronous, so nothing is made between the clean-up and the exit.
void cleanup
  .onSignals()
  .then(() => cleanup.run())
  .finally(() => process.exit(cleanup.interruption));
// The reader of a pipe may end first, as head does.
process.stdout.once("error", () => cleanup.run().finally(() => process.exit(1)));

try {
  const report = await run(options);
  if (options.output === "json") console.log(JSON.stringify(report, undefined, 2));
  process.exitCode = report.cases.every(areBoundsKept) && report.resources.every(({ isKept }) => isKept) ? 0 : 1;
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function run({ case: names, output, ...amount }: Options): Promise<BenchReport> {
  compileAll();
  const machine = `${cpus().length} processors, Linux ${release().split("-")[0]}`;
  const isTable = output !== "json";
  if (isTable) console.log(`${machine}; the reference is containernetworking/plugins 1.9.1\n`);
  const cases: CaseReport[] = [];
  for (const benchCase of CASES.filter(({ name }) => names?.includes(name) ?? true)) {
    const { name } = benchCase;
    showProgress(name, 0);
    const { rounds, series } = await measure(benchCase, amount, cleanup, (share) => showProgress(name, share));
    clearProgress();
    const report = makeReport(benchCase, rounds, series);
    cases.push(report);
    if (isTable) console.log(formatReport(report, output === "wide"));
  }
  const resources = resourcesOf(sizesOf(FOLDERS), cases);
  if (isTable) console.log(formatResources(resources));
  return { machine, cases, resources };
}

/** On a terminal, one line that changes; otherwise a line for each case. */
function showProgress(name: string, share: number): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${name}: ${Math.floor(100 * share)} %`);
  else if (share === 0) console.error(`bench: ${name}`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
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
