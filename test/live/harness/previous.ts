/** Builds an earlier weftd, for tests of upgrades and downgrades. */
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import type { Cleanup } from "./cleanup.ts";
import { succeed } from "./command.ts";
import { makeFolder } from "./folder.ts";

const ROOT = new URL("../../..", import.meta.url).pathname;
/** The daemon's sources, and the daemon's part of the build. */
const SOURCES = ["daemon", "pkg"];
const BUILD = [...SOURCES, "hack/compile", "package.json"];

/** Builds of earlier commits support only one processor. */
const BUILD_DAEMON = `
  const [folder] = process.argv.slice(1);
  const { NATIVE } = await import(folder + "/target.ts").catch(() => ({}));
  const { buildDaemon } = await import(folder + "/daemon.ts");
  await buildDaemon(NATIVE);
`;

/**
 * The commit before the last one that changed the daemon, or the one in WEFT_PREVIOUS. Undefined without a Git history.
 */
export function previousCommit(): string | undefined {
  const commit = process.env.WEFT_PREVIOUS;
  const args = commit === undefined ? ["-n1", "--skip=1", "HEAD", "--", ...SOURCES] : ["-n1", commit];
  const { status, stdout } = spawnSync("git", ["-C", ROOT, "rev-list", ...args], { encoding: "utf8" });
  const found = status === 0 ? stdout.trim() : "";
  if (found !== "") return found;
  process.stderr.write("live tests of upgrades need the repository's history: there is none here\n");
  return undefined;
}

/** Builds weftd of that commit with that commit's build. Returns the program's path. */
export async function buildPrevious(commit: string, cleanup: Cleanup): Promise<string> {
  const folder = makeFolder("previous", cleanup);
  const script = 'git -C "$0" archive "$1" -- $3 | tar -x -C "$2"';
  await succeed("sh", ["-c", script, ROOT, commit, folder, BUILD.join(" ")]);
  // Some commits' builds do not make this folder.
  mkdirSync(`${folder}/.cache/build`, { recursive: true });
  symlinkSync(`${ROOT}/node_modules`, `${folder}/node_modules`);
  await succeed(process.execPath, ["--input-type=module", "-e", BUILD_DAEMON, `${folder}/hack/compile`]);
  return `${folder}/dist/bin/weftd`;
}
