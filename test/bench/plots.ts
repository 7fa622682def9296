/**
 * `npm run bench -- plots`: measures, and draws the plots in docs/plots. Takes about five minutes; needs an idle
 * machine.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import type { ScaleReport } from "../scale/report.ts";
import { type Chart, drawChart } from "./chart.ts";
import type { CaseReport } from "./report.ts";

const ROOT = join(import.meta.dirname, "../..");
const PLOTS = join(ROOT, "docs/plots");

/** The machine, in a few words. */
const WHERE = `${cpus().length} processors, Linux ${release().split("-")[0]}`;

const { cases } = measure<{ cases: CaseReport[] }>("test/bench/main.ts", "--runs", "200", "-o", "json");
const scale = measure<ScaleReport>("test/scale/main.ts", "-o", "json");
const scaleSizes = scale.sizes.filter(({ nodes }) => nodes > 0);

mkdirSync(PLOTS, { recursive: true });
for (const { name, title, note, rounds, sides, rows } of cases)
  draw(name, {
    title,
    subtitle: `${note}; median of ${rounds}, alternating; ${WHERE}`,
    unit: "ms",
    groups: rows.map((row) => row.name),
    series: sides.toReversed().map((side) => {
      return { name: side, values: rows.map((row) => row.sides[side]?.medianMs ?? Number.NaN) };
    }),
  });
draw("scale", {
  title: "Time to program all peers from an empty kernel (VXLAN)",
  subtitle: `compare and program, best of ${scale.rounds}; compared with ip -batch and bridge -batch; ${WHERE}`,
  unit: "ms",
  groups: scaleSizes.map(({ nodes }) => `${nodes.toLocaleString("en")} nodes`),
  series: bothSides(
    scaleSizes.map(({ sentMs, batchMs }) => [sentMs, batchMs]),
    ["weftd", "ip -batch, bridge -batch"],
  ),
});
writeFileSync(join(PLOTS, "figures.json"), `${JSON.stringify({ where: WHERE, cases, scale }, undefined, 2)}\n`);

function measure<T>(script: string, ...args: string[]): T {
  console.error(`plots: ${script} ${args.join(" ")}`);
  // The script also prints its results if a bound is exceeded.
  const { stdout, status, stderr } = spawnSync(process.execPath, [join(ROOT, script), ...args], { encoding: "utf8" });
  if (stdout === "") throw new Error(`${script} exited with status ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function bothSides(pairs: readonly (readonly [number, number])[], names = ["weft", "reference"]): Chart["series"] {
  return names.map((name, at) => ({ name, values: pairs.map((pair) => pair[at] ?? Number.NaN) }));
}

function draw(name: string, chart: Chart): void {
  writeFileSync(join(PLOTS, `${name}.svg`), drawChart(chart));
  console.error(`plots: docs/plots/${name}.svg`);
}
