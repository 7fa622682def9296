/** Removes what killed processes could not clean up: namespaces, processes in them, folders, cgroups. */
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, succeed } from "./command.ts";

/** The mount point of cgroups: one hierarchy, or those of version 1. */
const CGROUPS = "/sys/fs/cgroup";

/** The prefix of all names of namespaces, folders and cgroups. The process number in it identifies their owner. */
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

/** The empty cgroups of this name and those below them, in every hierarchy. */
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

/** A process in a namespace keeps the namespace alive, with or without a name. */
async function removeWithInhabitants(name: string): Promise<void> {
  const { stdout } = await run("ip", ["netns", "pids", name]);
  for (const pid of stdout.split("\n").filter((text) => text !== "")) {
    // The process may have just ended.
    await run("kill", ["-KILL", pid]);
  }
  // Another test run may be removing the same leftovers.
  if (existsSync(`/run/netns/${name}`)) await succeed("ip", ["netns", "del", name]);
}
