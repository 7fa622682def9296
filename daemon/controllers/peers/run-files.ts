/**
 * What the executables find in the run directory: the node table and, small, its stamp. The table is replaced before the
 * kernel is programmed: an executable that steps in for a weftd that died in between must not bring back a peer that was
 * just removed. The stamp comes after both: it says that the node can serve, and who sees a generation in it finds
 * that one, or a later one, in the table.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  formatNodeTable,
  formatStamp,
  type NodeTable,
  parseNodeTable,
  type Stamp,
} from "../../../pkg/backend/node-table.ts";
import { STAMP_FILE, TABLE_FILE } from "../../../pkg/footprint.ts";
import type { Prefix } from "../../../pkg/ip/prefix.ts";
import { BOOT_ID_FILE } from "../../../pkg/sys/boot.ts";
import { replaceFile } from "../../core/drivers/replace-file.ts";

export type TableContent = Pick<NodeTable, "netConf" | "node" | "deviceMacs" | "peers" | "formerSubnets">;
export type StampContent = Pick<Stamp, "backend" | "devices">;

export class RunFiles {
  readonly #directory: string;
  readonly #bootId: string;
  #generation: number;
  #deviceMacs: ReadonlyMap<string, string>;
  /** Subnets that an earlier weftd of this boot has served. */
  readonly knownSubnets: readonly Prefix[];

  private constructor(directory: string, bootId: string, last: NodeTable | undefined) {
    this.#directory = directory;
    this.#bootId = bootId;
    this.#generation = last?.generation ?? 0;
    this.#deviceMacs = last?.deviceMacs ?? new Map();
    this.knownSubnets = last === undefined ? [] : [...last.formerSubnets, ...last.node.subnets];
  }

  /** Goes on where an earlier weftd of this boot ended. */
  static async open(directory: string): Promise<RunFiles> {
    const bootId = (await readFile(BOOT_ID_FILE, "utf8")).trim();
    return new RunFiles(directory, bootId, await lastTable(join(directory, TABLE_FILE), bootId));
  }

  /** What the last table says of this node's devices. */
  get deviceMacs(): ReadonlyMap<string, string> {
    return this.#deviceMacs;
  }

  /** Replaces the table if it differs, under a new generation; true when it did. */
  async writeTable(table: TableContent): Promise<boolean> {
    const path = join(this.#directory, TABLE_FILE);
    const text = (generation: number) => formatNodeTable({ bootId: this.#bootId, generation, ...table });
    this.#deviceMacs = table.deviceMacs;
    if ((await content(path)) === text(this.#generation)) return false;
    const generation = this.#generation + 1;
    const isReplaced = await replaceFile(path, text(generation));
    // Only now: a stamp must not name a generation that no table has.
    this.#generation = generation;
    return isReplaced;
  }

  /** Replaces the stamp if it differs, with the table's generation; true when it did. */
  async writeStamp(stamp: StampContent): Promise<boolean> {
    const text = formatStamp({ bootId: this.#bootId, generation: this.#generation, ...stamp });
    return replaceFile(join(this.#directory, STAMP_FILE), text);
  }
}

/** The table, if it is of this boot and this version can read it. */
async function lastTable(path: string, bootId: string): Promise<NodeTable | undefined> {
  try {
    const table = parseNodeTable(new Uint8Array(await readFile(path)));
    return table.bootId === bootId ? table : undefined;
  } catch {
    return undefined;
  }
}

async function content(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}
