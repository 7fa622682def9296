/**
 * `npm run build`: from TypeScript to dist/bin. `weft` is one static ELF that holds every plugin, with a hard link for
 * each; `weftd` starts the daemon's bundle.
 */
import { buildDaemon } from "./daemon.ts";
import { buildExecutable } from "./executable.ts";
import { bundlePlugins } from "./plugins.ts";

const started = Date.now();
const programs = await bundlePlugins();
const bytes = buildExecutable(programs);
await buildDaemon();
console.log(
  `build: dist/bin/weft ${(bytes / 2 ** 20).toFixed(2)} MiB (${programs.names.join(", ")}) and ` +
    `dist/bin/weftd in ${((Date.now() - started) / 1000).toFixed(1)} s`,
);
