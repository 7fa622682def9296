/** Network namespaces of our own, told apart from everybody else's by a prefix with this process's number. */
import { existsSync } from "node:fs";
import type { Cleanup } from "./cleanup.ts";
import { run, succeed } from "./command.ts";

const PREFIX = "weft-test";

export interface Namespace {
  readonly name: string;
  /** As a runtime hands it to plugins. */
  readonly path: string;
}

export async function makeNamespace(label: string, cleanup: Cleanup): Promise<Namespace> {
  const name = `${PREFIX}-${process.pid}-${label}`;
  await succeed("ip", ["netns", "add", name]);
  cleanup.push(() => removeNamespace(name));
  await succeed("ip", ["-n", name, "link", "set", "lo", "up"]);
  return { name, path: `/run/netns/${name}` };
}

export async function removeNamespace(name: string): Promise<void> {
  if (existsSync(`/run/netns/${name}`)) await succeed("ip", ["netns", "del", name]);
}

/** Removes what processes left behind that were killed before they could clean up. */
export async function sweepLeftovers(): Promise<void> {
  const { stdout } = await run("ip", ["netns", "list"]);
  for (const line of stdout.split("\n")) {
    const [name = ""] = line.split(" ");
    const owner = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) await removeNamespace(name);
  }
}
