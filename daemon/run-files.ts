/**
 * What the executables find in the run directory: the node table and, small, its stamp. The table is replaced before the
 * stamp: who sees a generation in the stamp finds it, or a later one, in the table.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  BOOT_ID_FILE,
  formatNodeTable,
  formatStamp,
  type NodeTable,
  parseNodeTable,
  STAMP_FILE,
  type Stamp,
  TABLE_FILE,
} from "../pkg/backend/node-table.ts";
import { replaceFile } from "./replace-file.ts";

export type RunContent = Pick<NodeTable, "netConf" | "node" | "peers"> & Pick<Stamp, "backend" | "devices">;

export class RunFiles {
  readonly #directory: string;
  readonly #bootId: string;
  #generation: number;

  private constructor(directory: string, bootId: string, generation: number) {
    this.#directory = directory;
    this.#bootId = bootId;
    this.#generation = generation;
  }

  /** Goes on counting where an earlier weftd of this boot ended. */
  static async open(directory: string): Promise<RunFiles> {
    const bootId = (await readFile(BOOT_ID_FILE, "utf8")).trim();
    return new RunFiles(directory, bootId, await lastGeneration(join(directory, TABLE_FILE), bootId));
  }

  /** Replaces what differs; true when the table did. */
  async write({ netConf, node, peers, backend, devices }: RunContent): Promise<boolean> {
    const bootId = this.#bootId;
    const path = join(this.#directory, TABLE_FILE);
    const text = (generation: number) => formatNodeTable({ bootId, generation, netConf, node, peers });
    const isSame = (await content(path)) === text(this.#generation);
    if (!isSame) {
      this.#generation += 1;
      await replaceFile(path, text(this.#generation));
    }
    const stamp = formatStamp({ bootId, generation: this.#generation, backend, devices });
    await replaceFile(join(this.#directory, STAMP_FILE), stamp);
    return !isSame;
  }
}

/** 0 where there is no table of this boot that this version can read. */
async function lastGeneration(path: string, bootId: string): Promise<number> {
  try {
    const table = parseNodeTable(new Uint8Array(await readFile(path)));
    return table.bootId === bootId ? table.generation : 0;
  } catch {
    return 0;
  }
}

async function content(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}
