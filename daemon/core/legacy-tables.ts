/**
 * The tables of iptables-legacy. They are no part of nftables, only iptables-legacy itself changes them without loss,
 * and the kernel does not announce their changes.
 */
import { LEGACY_TABLE_NAMES } from "../../pkg/foreign/legacy-names.ts";
import type { Family } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";

export const LEGACY_PROGRAM: Readonly<Record<Family, string>> = { 4: "iptables-legacy", 6: "ip6tables-legacy" };

/** iptables-legacy has a lock. Programs with thousands of rules hold it for a long time. */
const LOCK_WAIT_SECONDS = "5";

export interface Execution {
  /** The program's standard input. [nothing] */
  readonly input?: string;
  /** The program is killed after this time. [20 s] */
  readonly timeLimitMs?: number;
}

/** Runs a program and returns its output; undefined if the program does not exist. Rejects if it fails. */
export type Execute = (program: string, args: readonly string[], execution?: Execution) => Promise<string | undefined>;

export function isTableInUse(files: Pick<Files, "readFile">, family: Family, table: string): boolean {
  try {
    const names = new TextDecoder().decode(files.readFile(LEGACY_TABLE_NAMES[family]));
    return names.split("\n").includes(table);
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return false;
    throw error;
  }
}

/** Runs iptables-legacy of `family`. Returns undefined if it does not exist. */
export function runLegacy(
  execute: Execute,
  family: Family,
  args: readonly string[],
  execution?: Execution,
): Promise<string | undefined> {
  return execute(LEGACY_PROGRAM[family], ["-w", LOCK_WAIT_SECONDS, ...args], ...(execution ? [execution] : []));
}

/**
 * Applies `input` to the tables of iptables-legacy of `family` in one step. Returns undefined if the program does not
 * exist.
 */
export function restoreLegacy(
  execute: Execute,
  family: Family,
  input: string,
  timeLimitMs: number,
): Promise<string | undefined> {
  const args = ["--noflush", "-w", LOCK_WAIT_SECONDS];
  return execute(`${LEGACY_PROGRAM[family]}-restore`, args, { input, timeLimitMs });
}
