/**
 * The files in the run directory that the executables read: the node table and its small stamp. The table is replaced
 * before the kernel is programmed: an executable that acts for a weftd that died in between must not restore a peer
 * that was just removed. The stamp is written after both. It says that the node can serve, and a reader that sees a
 * generation in it finds that generation or a later one in the table.
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
import { overwriteVolatileFile, replaceFile } from "../../core/drivers/replace-file.ts";

export type TableContent = Pick<NodeTable, "netConf" | "node" | "deviceMacs" | "peers" | "formerSubnets">;
export type StampContent = Pick<Stamp, "backend" | "devices">;

export class RunFiles {
  readonly #directory: string;
  readonly #bootId: string;
  #generation: number;
  /** The last stamp. */
  #stamp: StampContent | undefined;
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

  /** Continues from the files of an earlier weftd of this boot. */
  static async open(directory: string): Promise<RunFiles> {
    const bootId = (await readFile(BOOT_ID_FILE, "utf8")).trim();
    return new RunFiles(directory, bootId, await lastTable(join(directory, TABLE_FILE), bootId));
  }

  /** The MACs of this node's devices in the last table. */
  get deviceMacs(): ReadonlyMap<string, string> {
    return this.#deviceMacs;
  }

  /** Replaces the table under a new generation if it differs. True if it did. */
  async writeTable(table: TableContent): Promise<boolean> {
    const path = join(this.#directory, TABLE_FILE);
    const text = (generation: number) => formatNodeTable({ bootId: this.#bootId, generation, ...table });
    this.#deviceMacs = table.deviceMacs;
    if ((await content(path)) === text(this.#generation)) return false;
    this.#write(table);
    return true;
  }

  /** Replaces the table, which differs from the last one, under a new generation. */
  async changeTable(table: TableContent): Promise<void> {
    this.#deviceMacs = table.deviceMacs;
    this.#write(table);
  }

  #write(table: TableContent): void {
    const generation = this.#generation + 1;
    const text = formatNodeTable({ bootId: this.#bootId, generation, ...table });
    // A table of an earlier boot is never read.
    overwriteVolatileFile(join(this.#directory, TABLE_FILE), text);
    // Set only now: a stamp must not name a generation that no table has.
    this.#generation = generation;
  }

  /** Replaces the last stamp by one with the table's generation. */
  async renewStamp(): Promise<void> {
    if (this.#stamp !== undefined) await this.writeStamp(this.#stamp);
  }

  /** Replaces the stamp if it differs, with the table's generation. True if it did. */
  async writeStamp(stamp: StampContent): Promise<boolean> {
    this.#stamp = stamp;
    const text = formatStamp({ bootId: this.#bootId, generation: this.#generation, ...stamp });
    return replaceFile(join(this.#directory, STAMP_FILE), text);
  }
}

/** Returns the table if it is of this boot and readable by this version. */
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
