/**
 * `npm run profile`: counts the instructions of each JavaScript function during calls of plugins. The counts are exact
 * and do not depend on the machine's speed or load. Instructions of the kernel are not counted: see --calls.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { SourceMap } from "node:module";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { Argument, Command, Option } from "commander";
import { Bed, CHAINS, type Chain, type Start, VERBS, type Verb } from "./bed.ts";
import { buildProfiled, layoutMacros, readSymbols, SOURCE_MAP } from "./layout.ts";
import { type Context, type Names, nativeTotals, type Profile, parseProfile, totals } from "./profile.ts";

interface Options {
  readonly plugin?: string;
  readonly rows: number;
  readonly tree?: number;
  readonly calls?: true;
}

const command = new Command("npm run profile --")
  .description("Counts the instructions of each function during calls of plugins. Runs as root.")
  .addArgument(new Argument("<chain>", "attach a pod by these plugins").choices(Object.keys(CHAINS)))
  .addArgument(new Argument("[verb]", "profile this call").choices(VERBS).default("ADD"))
  .option("--plugin <name>", "profile only this plugin of the chain")
  .addOption(new Option("--rows <n>", "print this many functions").default(40).argParser(Number))
  .addOption(new Option("--tree <percent>", "also print callers with callees that take this share").argParser(Number))
  .option("--calls", "print the system calls with their times instead (strace)")
  .parse();
const [chain, verb] = command.processedArgs as [Chain, Verb];
const options = command.opts<Options>();
const folder = mkdtempSync(`${tmpdir()}/weft-stepper-`);
const output = `${folder}/output`;
const bed = new Bed(await buildProfiled(), chain);
try {
  bed.attach();
  const program = options.calls === true ? ["strace", "-f", "-r", "-T", "-o", output] : [compileStepper(), output];
  const start: Start = (plugin, path) => (isProfiled(plugin) ? [...program, path] : [path]);
  if (verb === "ADD") bed.attach(start, print);
  else bed.call(bed.attach(), verb, start, print);
} finally {
  bed.close();
  rmSync(folder, { recursive: true, force: true });
}

function isProfiled(plugin: string): boolean {
  return options.plugin === undefined || options.plugin === plugin;
}

function compileStepper(): string {
  const source = fileURLToPath(new URL("stepper.c", import.meta.url));
  const path = `${folder}/stepper`;
  const warnings = ["-Wall", "-Wextra", "-Werror"];
  execFileSync("gcc", ["-std=gnu11", "-O2", ...warnings, ...layoutMacros(), source, "-o", path]);
  return path;
}

function print(plugin: string): void {
  if (!isProfiled(plugin)) return;
  const text = readFileSync(output, "utf8");
  if (options.calls === true) console.log(`${plugin} ${verb}\n${text}`);
  else printProfile(plugin, parseProfile(text, makeNames()));
}

function makeNames(): Names & { nameOf(address: number): string } {
  const symbols = readSymbols();
  const map = new SourceMap(JSON.parse(readFileSync(SOURCE_MAP, "utf8")));
  const nameOf = (address: number) => symbols.findLast((symbol) => symbol.address <= address)?.name ?? "?";
  return {
    nameOf,
    native: (address) => ({ name: nameOf(address), file: "C" }),
    javascript(name, line, column) {
      const entry = map.findEntry(line - 1, column - 1);
      if (!("originalSource" in entry)) return { name, file: "bundle" };
      const file = entry.originalSource.replace(/^(\.\.\/)+/, "");
      return { name, file: `${file}:${entry.originalLine + 1}` };
    },
  };
}

function printProfile(plugin: string, profile: Profile): void {
  const all = profile.root.inclusive;
  const percent = (count: number) => `${((100 * count) / all).toFixed(1)} %`.padStart(7);
  const row = (calls: string, own: string, share: string, inclusive: string, name: string) =>
    console.log(`${calls.padStart(6)} ${own.padStart(9)} ${share.padStart(7)} ${inclusive.padStart(9)}  ${name}`);
  console.log(`${plugin} ${verb}: ${all} instructions\n`);
  row("calls", "own", "", "with all", "function");
  for (const { function: called, calls, own, inclusive } of totals(profile).slice(0, options.rows))
    row(`${calls}`, `${own}`, percent(own), `${inclusive}`, `${called.name} ${called.file}`);
  console.log("\nby C function\n");
  for (const [name, count] of nativeTotals(profile, makeNames().nameOf).slice(0, options.rows / 2))
    row("", `${count}`, percent(count), "", name);
  if (options.tree !== undefined) printTree(profile.root, (all * options.tree) / 100, 0);
}

function printTree(context: Context, least: number, depth: number): void {
  const { function: called, calls, own, inclusive, callees } = context;
  console.log(
    `${`${inclusive}`.padStart(9)} ${`${own}`.padStart(8)} ${"  ".repeat(depth)}${called.name} x${calls} ${called.file}`,
  );
  const large = callees.filter((callee) => callee.inclusive >= least);
  for (const callee of large.sort((one, other) => other.inclusive - one.inclusive)) printTree(callee, least, depth + 1);
}
