/**
 * `npm run build`: from TypeScript to dist/bin. `weft` is one static ELF that holds every plugin, with a hard link for
 * each; `weftd` starts the daemon's bundle.
 */
import { statSync } from "node:fs";
import { buildDaemon, DAEMON_FILES } from "./daemon.ts";
import { buildExecutable, executableFiles } from "./executable.ts";
import { digestInputs, isBuilt, markBuilt, markUnbuilt } from "./inputs.ts";
import { bundlePlugins, pluginNames } from "./plugins.ts";

const started = Date.now();
const names = pluginNames();
const executables = executableFiles(names);
const digest = digestInputs();
if (!isBuilt(digest, [...executables, ...DAEMON_FILES])) {
  markUnbuilt();
  buildExecutable(await bundlePlugins(names));
  await buildDaemon();
  markBuilt(digest);
  report(`in ${((Date.now() - started) / 1000).toFixed(1)} s`);
} else {
  report("are up to date");
}

function report(outcome: string): void {
  const mebibytes = statSync(executables[0] as string).size / 2 ** 20;
  console.log(`build: dist/bin/weft ${mebibytes.toFixed(2)} MiB (${names.join(", ")}) and dist/bin/weftd ${outcome}`);
}
