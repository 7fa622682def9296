/**
 * Network namespaces for tests. A prefix with this process's number distinguishes them from those of other processes.
 */
import { existsSync } from "node:fs";
import type { Cleanup } from "./cleanup.ts";
import { succeed } from "./command.ts";
import { OWN_PREFIX } from "./leftovers.ts";

export interface Namespace {
  readonly name: string;
  /** The path that a runtime passes to plugins. */
  readonly path: string;
}

/** Names of this process's namespaces. Tests that run at the same time may use the same label. */
const taken = new Set<string>();

export async function makeNamespace(label: string, cleanup: Cleanup): Promise<Namespace> {
  let name = `${OWN_PREFIX}${label}`;
  for (let number = 2; taken.has(name); number++) name = `${OWN_PREFIX}${number}-${label}`;
  taken.add(name);
  await succeed("ip", ["netns", "add", name]);
  cleanup.push(() => removeNamespace(name));
  await succeed("ip", ["-n", name, "link", "set", "lo", "up"]);
  return { name, path: `/run/netns/${name}` };
}

export async function removeNamespace(name: string): Promise<void> {
  if (existsSync(`/run/netns/${name}`)) await succeed("ip", ["netns", "del", name]);
  taken.delete(name);
}
