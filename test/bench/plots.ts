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
import type { Report } from "./report.ts";

const ROOT = join(import.meta.dirname, "../..");
const PLOTS = join(ROOT, "docs/plots");
const IN_USE = [0, 1000, 4000];

/** The machine, in a few words. */
const WHERE = `${cpus().length} processors, Linux ${release().split("-")[0]}`;

const bridge = measure<Report>("test/bench/main.ts", "--runs", "200", "-o", "json");
const reservations = IN_USE.map((inUse) =>
  measure<Report>("test/bench/main.ts", "--plugin", "host-local", "--in-use", String(inUse), "-o", "json"),
);
const scale = measure<ScaleReport>("test/scale/main.ts", "-o", "json");

mkdirSync(PLOTS, { recursive: true });
draw("executables", {
  title: "One call of bridge with host-local",
  subtitle: `median of ${bridge.rounds} calls each, alternating; reference plugins 1.9.1; ${WHERE}`,
  unit: "ms",
  groups: bridge.rows.map(({ verb }) => verb),
  series: bothSides(bridge.rows.map(({ weft, reference }) => [weft.medianMs, reference.medianMs])),
});
draw("reservations", {
  title: "Time of host-local's ADD by number of addresses in use",
  subtitle: `median of ${reservations[0]?.rounds} calls each, alternating; reference plugins 1.9.1; ${WHERE}`,
  unit: "ms",
  groups: IN_USE.map((inUse) => inUse.toLocaleString("en")),
  series: bothSides(
    reservations.map(({ rows }) => {
      const add = rows.find(({ verb }) => verb === "ADD");
      return [add?.weft.medianMs ?? Number.NaN, add?.reference.medianMs ?? Number.NaN];
    }),
  ),
});
draw("scale", {
  title: "Time to program all peers from an empty kernel (VXLAN)",
  subtitle: `compare and program, best of ${scale.rounds}; compared with ip -batch and bridge -batch; ${WHERE}`,
  unit: "ms",
  groups: scale.sizes.map(({ nodes }) => `${nodes.toLocaleString("en")} nodes`),
  series: bothSides(
    scale.sizes.map(({ sentMs, batchMs }) => [sentMs, batchMs]),
    ["weftd", "ip -batch, bridge -batch"],
  ),
});
writeFileSync(
  join(PLOTS, "figures.json"),
  `${JSON.stringify({ where: WHERE, bridge, reservations, scale }, undefined, 2)}\n`,
);

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
