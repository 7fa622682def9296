/**
 * The tables of iptables-legacy: no part of nftables, and changed without loss only by iptables-legacy itself. Nobody
 * announces their changes.
 */
import { LEGACY_TABLE_NAMES } from "../../pkg/foreign/legacy-names.ts";
import type { Family } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";

export const LEGACY_PROGRAM: Readonly<Record<Family, string>> = { 4: "iptables-legacy", 6: "ip6tables-legacy" };

/** iptables-legacy has a lock of its own, which others hold for long where they have thousands of rules. */
const LOCK_WAIT_SECONDS = "5";

export interface Execution {
  /** What the program reads. [nothing] */
  readonly input?: string;
  /** It is ended after this time. [20 s] */
  readonly timeLimitMs?: number;
}

/** Runs a program and gives what it prints; undefined where there is no such program. Rejects where it fails. */
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

/** Calls the family's iptables-legacy; undefined where there is none. */
export function runLegacy(
  execute: Execute,
  family: Family,
  args: readonly string[],
  execution?: Execution,
): Promise<string | undefined> {
  return execute(LEGACY_PROGRAM[family], ["-w", LOCK_WAIT_SECONDS, ...args], ...(execution ? [execution] : []));
}

/** Changes a table of the family's iptables-legacy by what `text` says, all at once; undefined where there is no such program. */
export function restoreLegacy(
  execute: Execute,
  family: Family,
  input: string,
  timeLimitMs: number,
): Promise<string | undefined> {
  const args = ["--noflush", "-w", LOCK_WAIT_SECONDS];
  return execute(`${LEGACY_PROGRAM[family]}-restore`, args, { input, timeLimitMs });
}
