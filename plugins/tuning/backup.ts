/**
 * Keeps an interface's attributes from before ADD for DEL, in `<dataDir>/<container id>_<interface>.json`, in the
 * reference's format. `owner` is our own key, for GC. The reference ignores it.
 */
import { ConfigObject } from "../../pkg/cni/config.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { parseJsonObject } from "../../pkg/cni/network.ts";
import type { LinkChange } from "../../pkg/kernel/link.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
const SUFFIX = ".json";

/** The attributes that DEL restores. Absent attributes were not changed. */
export type Original = Pick<LinkChange, "mac" | "mtu" | "promiscuous" | "allMulticast" | "txQueueLength">;

export class Backup {
  readonly #files: Files;
  readonly #directory: string;
  readonly path: string;

  constructor(files: Files, directory: string, containerId: string, ifName: string) {
    this.#files = files;
    this.#directory = directory;
    this.path = `${directory}/${containerId}_${ifName}${SUFFIX}`;
  }

  /** Replaces the kept attributes atomically. Throws `SystemError`. */
  keep(original: Original, owner: string): void {
    const { mac, promiscuous: promisc, mtu, allMulticast: allmulti, txQueueLength: txQLen } = original;
    const text = JSON.stringify({ mac, promisc, mtu, allmulti, txQLen, owner }, null, 1);
    this.#files.makeDirectory(this.#directory, DIRECTORY_MODE);
    const unfinished = `${this.path}.new`;
    this.#files.writeFile(unfinished, new TextEncoder().encode(text), { mode: FILE_MODE });
    this.#files.rename(unfinished, this.path);
  }

  /** Undefined if nothing is kept, or a crash left an incomplete file. */
  read(): Original | undefined {
    const object = readObject(this.#files, this.path);
    if (object === undefined) return undefined;
    return {
      mac: object.optionalMac("mac"),
      mtu: object.optionalInteger("mtu", { min: 1 }),
      promiscuous: object.optionalBoolean("promisc"),
      allMulticast: object.optionalBoolean("allmulti"),
      txQueueLength: object.optionalInteger("txQLen", { min: 0 }),
    };
  }

  /** Succeeds if nothing is kept. */
  forget(): void {
    remove(this.#files, this.path);
  }
}

/** Throws `SystemError` if files cannot be kept in `directory`. */
export function assertWritable(files: Files, directory: string): void {
  files.makeDirectory(directory, DIRECTORY_MODE);
  const probe = `${directory}/.probe`;
  files.writeFile(probe, new Uint8Array(), { mode: FILE_MODE });
  remove(files, probe);
}

/** Removes the files of the attachments whose marks `isGarbage` selects. Files without a mark are not weft's. */
export function removeBackups(files: Files, directory: string, isGarbage: (mark: string) => boolean): void {
  for (const name of listDirectory(files, directory)) {
    const path = `${directory}/${name}`;
    const owner = name.endsWith(SUFFIX) ? readObject(files, path)?.value("owner") : undefined;
    if (typeof owner === "string" && isGarbage(owner)) remove(files, path);
  }
}

function listDirectory(files: Files, directory: string): string[] {
  try {
    return files.readDirectory(directory);
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

function readObject(files: Files, path: string): ConfigObject | undefined {
  try {
    return new ConfigObject(parseJsonObject(files.readFile(path), `saved attributes in ${path}`));
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR") || isCniError(error)) return undefined;
    throw error;
  }
}

function remove(files: Files, path: string): void {
  try {
    files.unlink(path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT", "ENOTDIR")) throw error;
  }
}
