/**
 * `npm run build`: builds dist/bin from TypeScript. `weft` is one static ELF file with all plugins, and has a hard link
 * for each. `weftd` starts the daemon's bundle. Files for another processor are in a folder of dist with its name.
 */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { Command, Option } from "commander";
import { bundleCommand } from "./command.ts";
import { buildDaemon, daemonFiles } from "./daemon.ts";
import { buildExecutable, executableFiles } from "./executable.ts";
import { digestInputs, isBuilt, markBuilt, markUnbuilt } from "./inputs.ts";
import { bundlePlugins, foreignPlugins, ownPlugins, type PluginSource, type Programs } from "./plugins.ts";
import { NATIVE, TARGETS } from "./target.ts";

const command = new Command("npm run build --")
  .description("Builds dist/bin from the sources. Returns at once if nothing changed.")
  .argument(
    "[folder...]",
    "additional plugins to build in; each folder's main.ts exports `plugin` (docs/writing-a-plugin.md)",
  )
  .addOption(
    new Option("--arch <name>", "build for this processor; files for others than amd64 are in dist/<name>")
      .choices(TARGETS.map(({ arch }) => arch))
      .default(NATIVE.arch),
  )
  .option("--out <folder>", "write the executables to this folder, and leave dist unchanged")
  .parse();
/** The directory of the call. */
const here = process.env.INIT_CWD ?? process.cwd();
const { arch, out } = command.opts<{ arch: string; out?: string }>();
const target = TARGETS.find((one) => one.arch === arch) ?? NATIVE;
const bin = `${target.dist}/bin`;
const started = Date.now();
const own = ownPlugins();
const foreign = foreignPlugins(
  command.args.map((folder) => resolve(here, folder)),
  own,
);

if (out !== undefined) await buildInto(resolve(here, out));
else if (foreign.length > 0) {
  // A later build without these plugins must not treat dist as up to date.
  markUnbuilt(target);
  await buildInto(bin);
  await buildDaemon(target);
} else await buildDist();

async function buildInto(folder: string): Promise<void> {
  buildExecutable(await programs([...own, ...foreign]), folder, target);
  report(folder, `in ${seconds()} s`);
}

async function buildDist(): Promise<void> {
  const digest = digestInputs(target);
  const files = executableFiles(
    own.map(({ name }) => name),
    bin,
  );
  if (isBuilt(target, digest, [...files, ...daemonFiles(target)])) {
    report(bin, "is up to date");
    return;
  }
  markUnbuilt(target);
  buildExecutable(await programs(own), bin, target);
  await buildDaemon(target);
  markBuilt(target, digest);
  report(bin, `and weftd in ${seconds()} s`);
}

async function programs(sources: readonly PluginSource[]): Promise<Programs> {
  return { ...(await bundlePlugins(sources)), command: await bundleCommand() };
}

function seconds(): string {
  return ((Date.now() - started) / 1000).toFixed(1);
}

function report(folder: string, outcome: string): void {
  const mebibytes = statSync(`${folder}/weft`).size / 2 ** 20;
  const names = [...own, ...foreign].map(({ name }) => name).join(", ");
  console.log(`build: ${folder}/weft ${mebibytes.toFixed(2)} MiB (${names}) ${outcome}`);
}
