/** `weft version`: shows the version of this file. */

import { ExitStatus, text } from "../outcome.ts";
import { type Build, declareSubcommand } from "../subcommand.ts";

export const version = declareSubcommand({
  name: "version",
  group: "Other",
  summary: "show the version, and the plugins in this file",
  description: [
    "Shows the version, the build id, the commit that it was built from, and the plugins that this file contains.",
    "Two files with the same build id contain the same code.",
  ],
  arguments: {},
  options: {},
  examples: [{ line: "version -o json", about: "print JSON" }],
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

/** Returns the version on one line. */
export function versionText({ version, id, commit }: Build): string {
  return `weft ${version} (build ${id}, ${commit === "" ? "commit unknown" : `commit ${commit}`})`;
}
