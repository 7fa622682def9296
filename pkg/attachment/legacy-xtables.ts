/**
 * Legacy iptables, by the host's own programs: only where the kernel holds such tables. Without the programs nobody can
 * look into them, which is told on standard error.
 */

import { notice } from "../cni/notice.ts";
import { LEGACY_TABLE_NAMES } from "../foreign/legacy-names.ts";
import type { Family } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";

/** Where programs are that no PATH names: runtimes hand plugins short ones. */
const DIRECTORIES = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"] as const;
const PROGRAM = { 4: "iptables", 6: "ip6tables" } as const;

const FAMILIES = [4, 6] as const;

/** Changes a table by what `plan` makes of what `iptables-save` prints; `what` names the state in warnings. */
export function changeXtables(
  system: System,
  table: "nat" | "filter",
  what: () => string,
  plan: (saved: string) => string,
): void {
  for (const family of FAMILIES) {
    const isUnreadable = () =>
      warn(system, family, table, `what the reference plugins left in it (${what()}) stays until you remove it`);
    const tools = toolsOf(system, family, table, isUnreadable);
    if (tools !== undefined) changeSaved(system, tools, table, plan);
  }
}

/** What `iptables-save` prints of a table; "" where the kernel has none, or no program to look into it is there. */
export function readXtables(system: System, table: "nat" | "filter", family: Family): string {
  const isUnreadable = () => warn(system, family, table, "what the reference plugins left in it counts as absent");
  return toolsOf(system, family, table, isUnreadable)?.saved ?? "";
}

/** A change is refused where another program was faster with what it rests on: then it is planned anew. */
const ATTEMPTS = 8;
const LONGEST_PAUSE_MS = 64;

/** Gives `iptables-restore` what `plan` makes of the saved table; nothing for "". */
export function changeSaved(system: System, tools: Tools, table: string, plan: (saved: string) => string): void {
  let { saved } = tools;
  for (let attempt = 1; ; attempt++) {
    const input = plan(saved);
    if (input === "") return;
    try {
      run(system, tools.restore, ["--noflush", "--wait"], input);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      const [lot = 0] = system.randomBytes(1);
      system.sleep(lot % LONGEST_PAUSE_MS);
      saved = run(system, tools.save, ["-t", table], "");
    }
  }
}

/** True where the kernel has this table of legacy iptables. */
export function hasXtable(system: System, family: Family, table: string): boolean {
  return tableNames(system, LEGACY_TABLE_NAMES[family]).includes(table);
}

/** How many symbolic links a program's name may lead through: Debian's alternatives take three. */
const LINKS = 8;

/** True where the host's own `iptables` is the legacy one, by what its name leads to: iptables-legacy, or xtables-multi. */
export function prefersXtables(system: System, family: Family): boolean {
  let path = findProgram(system, PROGRAM[family]);
  for (let followed = 0; path !== undefined && followed < LINKS; followed++) {
    if (/legacy[^/]*$|\/xtables-multi$/.test(path)) return true;
    const target: string | undefined = system.readLink(path);
    path = target === undefined || target.startsWith("/") ? target : `${path.replace(/\/[^/]*$/, "")}/${target}`;
  }
  return false;
}

export interface Tools {
  /** What `save` printed when it was found. */
  readonly saved: string;
  readonly save: string;
  readonly restore: string;
}

/** `undefined` where the kernel has no such table, or, which `isUnreadable` is called for, no program can read it. */
function toolsOf(system: System, family: Family, table: string, isUnreadable: () => void): Tools | undefined {
  if (!hasXtable(system, family, table)) return undefined;
  const tools = findTools(system, family, table);
  if (tools === undefined) isUnreadable();
  return tools;
}

/** Old releases had legacy iptables alone, under the names that now may belong to the one on nf_tables. */
export function findTools(system: System, family: Family, table: string): Tools | undefined {
  const program = PROGRAM[family];
  for (const name of [`${program}-legacy`, program]) {
    const save = findProgram(system, `${name}-save`);
    const restore = findProgram(system, `${name}-restore`);
    if (save === undefined || restore === undefined) continue;
    const saved = run(system, save, ["-t", table], "");
    if (!saved.split("\n", 1).join().includes("nf_tables")) return { saved, save, restore };
  }
  return undefined;
}

/** The host's own `iptables-save` and `iptables-restore`, whichever tables they are for; `undefined` where one is missing. */
export function findHostTools(system: System, family: Family, table: string): Tools | undefined {
  const save = findProgram(system, `${PROGRAM[family]}-save`);
  const restore = findProgram(system, `${PROGRAM[family]}-restore`);
  if (save === undefined || restore === undefined) return undefined;
  return { saved: run(system, save, ["-t", table], ""), save, restore };
}

function tableNames(system: System, path: string): string[] {
  try {
    return new TextDecoder().decode(system.readFile(path)).split("\n");
  } catch (error) {
    if (isSystemError(error)) return [];
    throw error;
  }
}

/** The path of a program that is on PATH, or where programs usually are. */
export function findProgram(system: System, name: string): string | undefined {
  const path = (system.environment.PATH ?? "").split(":").filter((directory) => directory.startsWith("/"));
  return [...path, ...DIRECTORIES]
    .map((directory) => `${directory}/${name}`)
    .find((file) => system.status(file)?.kind === "file");
}

/** What the program prints. Throws its complaint. */
export function run(system: System, program: string, args: readonly string[], input: string): string {
  const { status, output, errorOutput } = system.execute(program, {
    args,
    environment: system.environment,
    input: new TextEncoder().encode(input),
  });
  const text = new TextDecoder();
  if (status === 0) return text.decode(output);
  throw new Error(`${program} ${args.join(" ")}: exit status ${status}: ${text.decode(errorOutput).trim()}`);
}

function warn(system: System, family: Family, table: string, consequence: string): void {
  const program = PROGRAM[family];
  const missing = `no ${program}-legacy-save is there to look into it`;
  notice(system, "weft", `the kernel has a table ${table} of legacy ${program}, and ${missing}: ${consequence}`);
}
