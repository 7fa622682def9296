/** What processes left behind that were killed before they could clean up: namespaces, what runs in them, folders, cgroups. */
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, succeed } from "./command.ts";

/** Where cgroups are: one hierarchy, or version 1's. */
const CGROUPS = "/sys/fs/cgroup";

/** Names of namespaces, folders and cgroups begin with it: whose they are is seen by the number of the process. */
export const OWN_PREFIX = `weft-test-${process.pid}-`;

export async function sweepLeftovers(): Promise<void> {
  const { stdout } = await run("ip", ["netns", "list"]);
  for (const line of stdout.split("\n")) {
    const [name = ""] = line.split(" ");
    if (isLeftover(name)) await removeWithInhabitants(name);
  }
  for (const name of readdirSync(tmpdir())) {
    if (isLeftover(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  for (const name of new Set(hierarchies().flatMap((hierarchy) => readdirSync(hierarchy)))) {
    if (isLeftover(name)) removeCgroups(name);
  }
}

/** The empty cgroups of this name, and those below them, in every hierarchy. */
export function removeCgroups(name: string): void {
  for (const hierarchy of hierarchies()) {
    if (existsSync(join(hierarchy, name))) removeCgroup(join(hierarchy, name));
  }
}

function hierarchies(): string[] {
  return existsSync(CGROUPS) ? [CGROUPS, ...foldersIn(CGROUPS)] : [];
}

function removeCgroup(path: string): void {
  for (const below of foldersIn(path)) removeCgroup(below);
  rmdirSync(path);
}

function foldersIn(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(path, entry.name));
}

function isLeftover(name: string): boolean {
  const owner = /^weft-test-(\d+)-/.exec(name)?.[1];
  return owner !== undefined && !existsSync(`/proc/${owner}`);
}

/** Who lives in a namespace keeps it alive, whether it has a name or not. */
async function removeWithInhabitants(name: string): Promise<void> {
  const { stdout } = await run("ip", ["netns", "pids", name]);
  for (const pid of stdout.split("\n").filter((text) => text !== "")) {
    // One that has just ended is no failure.
    await run("kill", ["-KILL", pid]);
  }
  // Another run may be sweeping, too.
  if (existsSync(`/run/netns/${name}`)) await succeed("ip", ["netns", "del", name]);
}
