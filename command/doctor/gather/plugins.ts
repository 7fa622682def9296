/** Compares the plugins in the runtime's folder with this build. */
import type { System } from "../../../pkg/sys/system.ts";
import { observeBinDirectory } from "../../install/bin-directory.ts";
import type { Build } from "../../subcommand.ts";
import type { PluginFacts } from "../facts.ts";

/** A plugin that weft does not contain counts as "own", whichever program provides it. */
export function lookAtPlugins(system: System, directory: string, build: Build): PluginFacts {
  const { files } = observeBinDirectory(directory, system);
  const stateOf = (name: string, buildId: string | undefined) =>
    buildId === build.id || !build.pluginNames.includes(name) ? "own" : "other";
  const found = [...files.values()].filter(({ kind }) => kind === "file");
  return { directory, files: new Map(found.map(({ name, buildId }) => [name, stateOf(name, buildId)])) };
}
