/**
 * `npm run build`: from TypeScript to dist/bin. `weft` is one static ELF that holds every plugin, with a hard link for
 * each; `weftd` starts the daemon's bundle.
 */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { buildDaemon, DAEMON_FILES } from "./daemon.ts";
import { buildExecutable, executableFiles } from "./executable.ts";
import { digestInputs, isBuilt, markBuilt, markUnbuilt } from "./inputs.ts";
import { BIN } from "./paths.ts";
import { bundlePlugins, foreignPlugins, ownPlugins } from "./plugins.ts";

const command = new Command("npm run build --")
  .description("Builds dist/bin from the sources; over at once where nothing changed.")
  .argument(
    "[folder...]",
    "plugins of your own to build in: each folder's main.ts exports `plugin` (docs/writing-a-plugin.md)",
  )
  .option("--out <folder>", "put the executables there, and leave dist alone")
  .parse();
/** Where the command was given. */
const here = process.env.INIT_CWD ?? process.cwd();
const { out } = command.opts<{ out?: string }>();
const started = Date.now();
const own = ownPlugins();
const foreign = foreignPlugins(
  command.args.map((folder) => resolve(here, folder)),
  own,
);

if (out !== undefined) await buildInto(resolve(here, out));
else if (foreign.length > 0) {
  // The next build without these finds dist to be another one's.
  markUnbuilt();
  await buildInto(BIN);
  await buildDaemon();
} else await buildDist();

async function buildInto(folder: string): Promise<void> {
  buildExecutable(await bundlePlugins([...own, ...foreign]), folder);
  report(folder, `in ${seconds()} s`);
}

async function buildDist(): Promise<void> {
  const digest = digestInputs();
  const files = executableFiles(
    own.map(({ name }) => name),
    BIN,
  );
  if (isBuilt(digest, [...files, ...DAEMON_FILES])) {
    report(BIN, "is up to date");
    return;
  }
  markUnbuilt();
  buildExecutable(await bundlePlugins(own), BIN);
  await buildDaemon();
  markBuilt(digest);
  report(BIN, `and weftd in ${seconds()} s`);
}

function seconds(): string {
  return ((Date.now() - started) / 1000).toFixed(1);
}

function report(folder: string, outcome: string): void {
  const mebibytes = statSync(`${folder}/weft`).size / 2 ** 20;
  const names = [...own, ...foreign].map(({ name }) => name).join(", ");
  console.log(`build: ${folder}/weft ${mebibytes.toFixed(2)} MiB (${names}) ${outcome}`);
}
