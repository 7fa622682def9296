/**
 * Changes legacy iptables tables with the host's own programs, only if the kernel has such tables. Without these
 * programs the tables cannot be read; weft then warns on standard error.
 */

import { notice } from "../cni/notice.ts";
import { LEGACY_TABLE_NAMES } from "../foreign/legacy-names.ts";
import type { Family } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";

/** Directories to search besides PATH, because runtimes give plugins a short PATH. */
const DIRECTORIES = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"] as const;
const PROGRAM = { 4: "iptables", 6: "ip6tables" } as const;

const FAMILIES = [4, 6] as const;

/**
 * Changes a table: `plan` turns the output of `iptables-save` into input for `iptables-restore`. `what` names the
 * affected state in warnings.
 */
export function changeXtables(
  system: System,
  table: "nat" | "filter",
  what: () => string,
  plan: (saved: string) => string,
): void {
  for (const family of FAMILIES) {
    const isUnreadable = () =>
      warn(system, family, table, `state of the reference plugins in it (${what()}) remains: remove it by hand`);
    const tools = toolsOf(system, family, table, isUnreadable);
    if (tools !== undefined) changeSaved(system, tools, table, plan);
  }
}

/**
 * Returns the output of `iptables-save` for a table. Returns "" if the kernel has no such table, or if no program can
 * read it.
 */
export function readXtables(system: System, table: "nat" | "filter", family: Family): string {
  const isUnreadable = () => warn(system, family, table, "state of the reference plugins in it is ignored");
  return toolsOf(system, family, table, isUnreadable)?.saved ?? "";
}

/** A change is refused if another program changed the table first. It is then planned again. */
const ATTEMPTS = 8;
const LONGEST_PAUSE_MS = 64;

/** Passes `plan(saved)` to `iptables-restore`. Does nothing if the plan is "". */
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

/** True if the kernel has this legacy iptables table. */
export function hasXtable(system: System, family: Family, table: string): boolean {
  return tableNames(system, LEGACY_TABLE_NAMES[family]).includes(table);
}

/** The largest number of symbolic links to follow from a program's name. Debian's alternatives use three. */
const LINKS = 8;

/** True if the host's `iptables` is the legacy one: its name leads to iptables-legacy or xtables-multi. */
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
  /** The output of `save` when the programs were found. */
  readonly saved: string;
  readonly save: string;
  readonly restore: string;
}

/**
 * Returns undefined if the kernel has no such table. Calls `isUnreadable` and returns undefined if no program can read
 * it.
 */
function toolsOf(system: System, family: Family, table: string, isUnreadable: () => void): Tools | undefined {
  if (!hasXtable(system, family, table)) return undefined;
  const tools = findTools(system, family, table);
  if (tools === undefined) isUnreadable();
  return tools;
}

/**
 * Finds the legacy programs. Old releases have only legacy iptables, under names that newer ones use for iptables on
 * nf_tables.
 */
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

/**
 * Returns the host's own `iptables-save` and `iptables-restore`, legacy or not. Undefined if one of them is missing.
 */
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

/** Returns the path of a program on PATH or in one of the usual directories. */
export function findProgram(system: System, name: string): string | undefined {
  const path = (system.environment.PATH ?? "").split(":").filter((directory) => directory.startsWith("/"));
  return [...path, ...DIRECTORIES]
    .map((directory) => `${directory}/${name}`)
    .find((file) => system.status(file)?.kind === "file");
}

/** Runs the program and returns its output. Throws an error with its standard error if it fails. */
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
  const missing = `${program}-legacy-save, which could read it, is not installed`;
  notice(system, "weft", `the kernel has a table ${table} of legacy ${program}, and ${missing}: ${consequence}`);
}
