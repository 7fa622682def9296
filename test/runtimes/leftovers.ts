/** What plugins and runtimes leave on a machine. */
import type { Machine } from "./machine.ts";

export interface Traces {
  /** Names of all links of the node. */
  readonly links: readonly string[];
  /** Owners' marks of all kinds of kernel objects. */
  readonly marks: readonly string[];
  /** Reserved addresses. */
  readonly reservations: readonly string[];
  /** Results that the runtime keeps for DEL. */
  readonly results: readonly string[];
}

export async function traces(machine: Machine): Promise<Traces> {
  const links = await machine.json<{ ifname: string }[]>("ip", ["-j", "link", "show"]);
  const seen = [links, await machine.json("nft", ["-j", "list", "ruleset"])].map((dump) => JSON.stringify(dump)).join();
  const files = (folder: string) => machine.shell(`cd ${folder} 2>/dev/null && busybox find . -type f || true`);
  const names = (text: string) => text.split("\n").flatMap((path) => path.split("/").at(-1) || []);
  return {
    links: links.map(({ ifname }) => ifname).sort(),
    marks: [...new Set([...seen.matchAll(/cni:[^"]*/g)].map(([mark]) => mark))].sort(),
    reservations: names(await files("/var/lib/cni/networks")).filter((name) => /[.:]/.test(name) && !/^l/.test(name)),
    results: names(await files("/var/lib/cni/results")),
  };
}
