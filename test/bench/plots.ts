/** `npm run bench -- plots`: measures, and draws the plots in docs/plots. Needs an idle machine. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import type { ScaleReport } from "../scale/report.ts";
import { drawChart } from "./chart.ts";
import { type BenchReport, chartsOf, type PlotFigures, replaceCases } from "./figures.ts";
import { withFigures } from "./readme.ts";

const ROOT = join(import.meta.dirname, "../..");
const PLOTS = join(ROOT, "docs/plots");
const README = join(ROOT, "README.md");
const FIGURES = join(PLOTS, "figures.json");

const EXAMPLES = `
Examples:
  npm run bench -- plots                               measure everything: a quarter of an hour
  npm run bench -- plots --case bridge --case chain    measure two cases, and keep the other figures
  npm run bench -- plots --draw                        measure nothing`;

interface Options {
  readonly case?: readonly string[];
  readonly runs: string;
  readonly scale?: true;
  readonly draw?: true;
}

const options = new Command("bench plots")
  .description("Measures, and draws the plots of README.md from docs/plots/figures.json.")
  .option("--case <name...>", "measure only these cases of npm run bench")
  .option("--runs <n>", "rounds of each case", "100")
  .option("--scale", "measure only npm run bench -- scale")
  .option("--draw", "draw from the stored figures")
  .addHelpText("after", EXAMPLES)
  .parse()
  .opts<Options>();

const stored = existsSync(FIGURES) ? (JSON.parse(readFileSync(FIGURES, "utf8")) as Partial<PlotFigures>) : {};
const isAll = options.case === undefined && options.scale === undefined && options.draw === undefined;
const executables = isAll || options.case ? measureCases(options.case ?? []) : stored.executables;
const scale = isAll || options.scale ? run<ScaleReport>("test/scale/main.ts", "-o", "json") : stored.scale;
if (executables === undefined || scale === undefined)
  throw new Error("docs/plots/figures.json is not complete: run npm run bench -- plots");
const where = isAll
  ? `${cpus().length} processors, Linux ${release().split("-")[0]}`
  : (stored.where ?? executables.machine);
const figures: PlotFigures = { where, executables, scale };

mkdirSync(PLOTS, { recursive: true });
// Before the charts, so that cases can be measured one after another until all charts have their figures.
writeFileSync(FIGURES, `${JSON.stringify(figures, undefined, 2)}\n`);
try {
  for (const [name, chart] of Object.entries(chartsOf(figures))) {
    writeFileSync(join(PLOTS, `${name}.svg`), drawChart(chart));
    console.error(`plots: docs/plots/${name}.svg`);
  }
  writeFileSync(README, withFigures(readFileSync(README, "utf8"), figures));
} catch (error) {
  console.error(`plots: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

function measureCases(names: readonly string[]): BenchReport {
  const args = names.flatMap((name) => ["--case", name]);
  const report = run<BenchReport>("test/bench/main.ts", ...args, "--runs", options.runs, "-o", "json");
  return replaceCases(isAll ? undefined : stored.executables, report);
}

function run<T>(script: string, ...args: string[]): T {
  console.error(`plots: ${script} ${args.join(" ")}`);
  // The script also prints its results if a bound is exceeded.
  const { stdout, status } = spawnSync(process.execPath, [join(ROOT, script), ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 64 << 20,
  });
  if (stdout === "") throw new Error(`${script} exited with status ${status}`);
  return JSON.parse(stdout) as T;
}
