/** Reads weftd's run directory: whether weftd runs, what it programmed last, and in which boot. */

import type { NetConf } from "../../pkg/backend/net-conf.ts";
import { type NodeTable, parseNodeTable, parseStamp, type Stamp } from "../../pkg/backend/node-table.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { SOCKET_FILE, STAMP_FILE, TABLE_FILE } from "../../pkg/footprint.ts";
import { readBootId } from "../../pkg/sys/boot.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** The content of a file, or the reason why there is none. */
export type Held<T> =
  | { readonly is: "held"; readonly value: T; readonly ageMs: number }
  | { readonly is: "absent" }
  | { readonly is: "unreadable"; readonly reason: string };

export type KnownNodes = NodeTable & { readonly conf: NetConf };

export interface RunDirectory {
  readonly path: string;
  /** True if a weftd holds its socket open. */
  readonly isAlive: boolean;
  readonly bootId: string;
  readonly stamp: Held<Stamp>;
  readonly table: Held<KnownNodes>;
}

export function readRunDirectory(system: System, path: string): RunDirectory {
  return {
    path,
    isAlive: system.isSocketAlive(`${path}/${SOCKET_FILE}`),
    bootId: readBootId(system),
    stamp: readHeld(system, `${path}/${STAMP_FILE}`, parseStamp),
    table: readHeld(system, `${path}/${TABLE_FILE}`, parseNodeTable),
  };
}

function readHeld<T>(system: System, path: string, parse: (bytes: Uint8Array) => T): Held<T> {
  try {
    const value = parse(system.readFile(path));
    const modifiedMs = system.status(path)?.modifiedMs ?? system.now();
    return { is: "held", value, ageMs: Math.max(0, system.now() - modifiedMs) };
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return { is: "absent" };
    if (isSystemError(error) || isCniError(error) || isUnknownFormat(error))
      return { is: "unreadable", reason: (error as Error).message };
    throw error;
  }
}

function isUnknownFormat(error: unknown): boolean {
  return error instanceof Error && error.name === "UnknownFormatError";
}

/** Returns the table if it is of this boot. */
export function currentTable({ table, bootId }: RunDirectory): KnownNodes | undefined {
  return table.is === "held" && table.value.bootId === bootId ? table.value : undefined;
}
