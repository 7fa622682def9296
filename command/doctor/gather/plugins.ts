/** Which of the runtime's plugins are of this build. */
import type { System } from "../../../pkg/sys/system.ts";
import { observeBinDirectory } from "../../install/bin-directory.ts";
import type { Build } from "../../subcommand.ts";
import type { PluginFacts } from "../facts.ts";

/** What weft has no plugin of is any program of that name. */
export function lookAtPlugins(system: System, directory: string, build: Build): PluginFacts {
  const { files } = observeBinDirectory(directory, system);
  const stateOf = (name: string, buildId: string | undefined) =>
    buildId === build.id || !build.pluginNames.includes(name) ? "own" : "other";
  const found = [...files.values()].filter(({ kind }) => kind === "file");
  return { directory, files: new Map(found.map(({ name, buildId }) => [name, stateOf(name, buildId)])) };
}
