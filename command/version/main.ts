/** `weft version`: what this file is. */

import { ExitStatus, text } from "../outcome.ts";
import { type Build, declareSubcommand } from "../subcommand.ts";

export const version = declareSubcommand({
  name: "version",
  group: "Other",
  summary: "say which weft this is, and which plugins it holds",
  description: [
    "Says the version, the build's id, the commit that it was built from, and the plugins that this file is when it is called by their names.",
    "Two files with the same build id hold the same code.",
  ],
  arguments: {},
  options: {},
  examples: [{ line: "version -o json", about: "for a machine" }],
  printsData: true,
  run({ build }) {
    const { id, commit, pluginNames } = build;
    return {
      status: ExitStatus.done,
      blocks: [text(versionText(build)), text(`plugins: ${pluginNames.join(", ")}`)],
      data: { version: build.version, buildId: id, commit, plugins: pluginNames },
    };
  },
});

/** One line. */
export function versionText({ version, id, commit }: Build): string {
  return `weft ${version} (build ${id}, ${commit === "" ? "commit unknown" : `commit ${commit}`})`;
}
