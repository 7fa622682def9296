/** The plugins of the recorded calls, compiled like those of dist/bin. In addition they record the kernel's answers. */
import { linkSync, mkdirSync, rmSync } from "node:fs";
import { compileExecutable } from "../../hack/compile/executable.ts";
import { WORK } from "../../hack/compile/paths.ts";
import { bundle } from "../../hack/compile/plugins.ts";
import { NATIVE } from "../../hack/compile/target.ts";
import type { Cleanup } from "../live/harness/cleanup.ts";

/**
 * Makes one executable with a link for each of these plugins in a folder, which `cleanup` removes. Returns the folder's
 * path.
 */
export async function compileRecorder(names: readonly string[], cleanup: Cleanup): Promise<string> {
  const folder = `${WORK}/recorder-${process.pid}`;
  cleanup.push(() => rmSync(folder, { recursive: true, force: true }));
  const bin = `${folder}/bin`;
  mkdirSync(bin, { recursive: true });
  const script = `${folder}/plugins.js`;
  await bundle(entry(names), script);
  const executable = compileExecutable({ names, script }, `${folder}/weft`, NATIVE);
  for (const name of names) linkSync(executable, `${bin}/${name}`);
  return bin;
}

function entry(names: readonly string[]): string {
  return [
    'import { provide, quickjs } from "./pkg/sys/quickjs.ts";',
    'import { runRecorded } from "./test/fuzz/recording.ts";',
    ...names.map((name, at) => `import { plugin as plugin${at} } from "./plugins/${name}/main.ts";`),
    `const plugins = { ${names.map((name, at) => `${JSON.stringify(name)}: plugin${at}`).join(", ")} };`,
    "for (const name in plugins) provide(name, () => runRecorded(plugins[name], quickjs, plugins));",
  ].join("\n");
}
