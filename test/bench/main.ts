/** `npm run bench`: compares the executables with the reference plugins, in one run, on one machine. */
import { statSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { assertReady, Bed, FOLDERS, SUBJECTS, type Subject } from "./bed.ts";
import { planCalls, type Side } from "./call.ts";
import { formatTable, makeReport, type Report } from "./report.ts";

interface Options {
  readonly runs: number;
  readonly warmUp: number;
  readonly plugin: Subject;
  readonly inUse: number;
  readonly output: "table" | "json";
}

const EXAMPLES = `
Examples:
  npm run bench
  npm run bench -- --runs 500
  npm run bench -- --plugin portmap
  npm run bench -- --plugin host-local --in-use 4000
  npm run -s bench -- -o json | jq '.rows[] | {verb, ratio}'

Exits with 1 if a bound is exceeded. NO_COLOR=1 disables colours.`;

const options = new Command("bench")
  .description(
    "Measures ADD, DEL, VERSION and STATUS of weft's and the reference plugins, alternately. The reference's portmap uses iptables.",
  )
  .addOption(
    new Option("--plugin <name>", "bridge or ptp with host-local, host-local alone, or portmap")
      .choices(Object.keys(SUBJECTS))
      .default("bridge"),
  )
  .addOption(
    new Option("--in-use <n>", "reserve this many addresses first, on both sides; not for portmap")
      .default(0)
      .argParser(parseCount(0)),
  )
  .addOption(new Option("--runs <n>", "measure this many calls of each kind").default(100).argParser(parseCount(1)))
  .addOption(
    new Option("--warm-up <n>", "make this many unmeasured calls of each kind first")
      .default(5)
      .argParser(parseCount(0)),
  )
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .addHelpText("after", EXAMPLES)
  .parse()
  .opts<Options>();

try {
  assertReady(options.plugin);
  const report = measure(options);
  console.log(options.output === "json" ? JSON.stringify(report, undefined, 2) : formatTable(report));
  process.exitCode = report.rows.every(({ isKept }) => isKept) ? 0 : 1;
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

function measure({ runs, warmUp, plugin, inUse }: Options): Report {
  if (plugin === "portmap" && inUse > 0) throw new Error("--in-use is for addresses, which portmap does not use");
  const bed = new Bed(plugin, inUse);
  try {
    if (warmUp > 0) bed.run(planCalls(warmUp));
    const calls = planCalls(runs);
    const sizeOf = (side: Side, name: string) => statSync(`${FOLDERS[side]}/${name}`).size;
    const reference = SUBJECTS[plugin].reduce((sum, name) => sum + sizeOf("reference", name), 0);
    const sizes = { weft: sizeOf("weft", plugin), reference };
    return makeReport({ subject: plugin, inUse }, calls, bed.run(calls), sizes);
  } finally {
    bed.close();
  }
}

function parseCount(least: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!Number.isInteger(count) || count < least || count > 100_000)
      throw new InvalidArgumentError(`expected a whole number from ${least} to 100000.`);
    return count;
  };
}
