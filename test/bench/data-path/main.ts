/**
 * `npm run bench -- data-path`: measures packets between pods of two nodes: weft's path, the same path made by hand, and
 * node to node. Exits with 1 if a bound is exceeded.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Family } from "../../../pkg/ip/address.ts";
import { drawChart } from "../chart.ts";
import { DataPathBed } from "./bed.ts";
import { dataPathCharts, replaceRows, type StoredReport } from "./charts.ts";
import type { Mode } from "./hand-made.ts";
import { type DataPathReport, formatDataPath, MEASURES, type Row, rowsOf, type Samples, SIDES } from "./report.ts";

interface Options {
  readonly rounds: number;
  readonly ms: number;
  readonly mode: readonly Mode[];
  readonly family: readonly Family[];
  readonly save?: true;
  readonly output: "table" | "json";
}

const PLOTS = new URL("../../../docs/plots/", import.meta.url);
const STORED = new URL("data-path.json", PLOTS);
const MODES: readonly Mode[] = ["vxlan", "host-gw"];
const FAMILIES: readonly Family[] = [4, 6];

const options = new Command("bench data-path")
  .description(
    "Measures TCP streams, requests of one byte, and new connections between pods of two nodes, in network namespaces " +
      "of one machine: over weft, over the same path made with ip, bridge and nft, and between the nodes themselves. " +
      "Needs root and gcc.",
  )
  .addOption(new Option("--rounds <n>", "number of rounds").default(15).argParser(parseCount))
  .addOption(new Option("--ms <n>", "time of each measurement in milliseconds").default(250).argParser(parseCount))
  .addOption(choice("--mode <mode>", "only this backend", MODES, (text) => text as Mode))
  .addOption(choice("--family <family>", "only this IP family, 4 or 6", FAMILIES, (text) => Number(text) as Family))
  .addOption(new Option("--save", "store the results in docs/plots/data-path.json, and draw the plots from it"))
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .parse()
  .opts<Options>();

const rows: Row[] = [];
for (const mode of options.mode) rows.push(...(await measure(mode, options)));
const report: DataPathReport = { rounds: options.rounds, rows };
if (options.save) save(report);
console.log(options.output === "json" ? JSON.stringify(report, undefined, 2) : formatDataPath(report));
process.exitCode = rows.every(({ isKept }) => isKept) ? 0 : 1;

async function measure(mode: Mode, { rounds, ms, family: families }: Options): Promise<readonly Row[]> {
  console.error(`data-path: nodes with ${mode}`);
  const bed = await DataPathBed.make(mode);
  try {
    const all = new Map(families.map((family) => [family, noSamples()]));
    for (let round = 0; round < rounds; round++) {
      console.error(`data-path: ${mode}, round ${round + 1} of ${rounds}`);
      for (const [family, samples] of all)
        for (const kind of DataPathBed.kinds)
          for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
            const measured = await bed.measure(side, family, kind, ms);
            for (const name of kind.measures) samples[side][name].push(measured[name] ?? Number.NaN);
          }
    }
    return [...all].flatMap(([family, samples]) => rowsOf(mode, family, samples));
  } finally {
    await bed.close();
  }
}

function save({ rounds, rows }: DataPathReport): void {
  const before = existsSync(STORED) ? (JSON.parse(readFileSync(STORED, "utf8")) as StoredReport).rows : [];
  const where = `${cpus().length} processors, Linux ${release().split("-")[0]}`;
  const stored: StoredReport = { where, rounds, rows: replaceRows(before, rows) };
  writeFileSync(STORED, `${JSON.stringify(stored, undefined, 2)}\n`);
  for (const [name, chart] of Object.entries(dataPathCharts(stored)))
    writeFileSync(new URL(`${name}.svg`, PLOTS), drawChart(chart));
}

function noSamples() {
  const entries = SIDES.map((side) => [side, Object.fromEntries(MEASURES.map((measure) => [measure, []]))]);
  return Object.fromEntries(entries) as { [S in keyof Samples]: { [M in keyof Samples[S]]: number[] } };
}

function choice<T>(flags: string, about: string, all: readonly T[], parse: (text: string) => T): Option {
  return new Option(flags, about).default(all, "all").argParser((text: string) => {
    const value = parse(text);
    if (all.includes(value)) return [value];
    throw new InvalidArgumentError(`expected ${all.join(" or ")}.`);
  });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 100_000) return count;
  throw new InvalidArgumentError("expected a whole number from 1 to 100000.");
}
