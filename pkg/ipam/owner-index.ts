/**
 * The index of addresses by attachment. It is the inverse of the reservations' files, so that a call need not read all
 * of them to find its own. It is next to the network's directory, because other programs list that directory:
 *
 *     <dataDir>/.weft/<network>/<boot id>/<shard>   lines "<container id>@<interface> <address>"
 *
 * Owners are distributed to shards by a digest of the container's id. A call reads and writes one shard, which stays
 * small. Indexing thousands of reservations takes no more than `SHARDS` files.
 *
 * The index may be wrong. An entry counts only if the reservation's own file confirms it. To detect changes by other
 * programs, a call ends by setting the same modification time on both directories, with half a millisecond as its
 * fraction. The kernel updates the time of the network's directory when any program creates or removes a file, however
 * soon after.
 *
 * The index directory is named after the boot, so it identifies reservations from before the last boot. After a power
 * failure at any time, the name is on the disk if any reservation made after it is; the content of a file may be lost.
 *
 * Used only under the network's lock.
 */

import { HOST_LOCAL_INDEX } from "../footprint.ts";
import { readBootId } from "../sys/boot.ts";
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";
import { rewriteFile } from "./rewrite.ts";

const SHARDS = 256;
/** The fraction of the times that the index sets. Other times have it by chance once in a million. */
const FRACTION_MS = 0.5;

/**
 * Valid starts of an owner's line. Other owners can only be in files of another program; they are found without the
 * index.
 */
const KEY = /^[\w.-]+@\S*$/;

const DIRECTORY_MODE = 0o755;

/** The owner of a reservation. Files in the old format name no interface. */
export interface Owner {
  readonly containerId: string;
  readonly ifName?: string | undefined;
}

/** An address as spelled in its file's name, and its owner. */
export interface Entry extends Owner {
  readonly name: string;
}

export class OwnerIndex {
  readonly #system: System;
  readonly #directory: string;
  readonly #thisBoot: string;
  #path: string;
  #isCurrent: boolean;
  /** Lines of the shards that were read or must be written. */
  readonly #shards = new Map<string, readonly string[]>();
  readonly #changed = new Set<string>();

  private constructor(system: System, directory: string, thisBoot: string, path: string) {
    this.#system = system;
    this.#directory = directory;
    this.#thisBoot = thisBoot;
    this.#path = path;
    const savedMs = system.status(path)?.modifiedMs ?? 0;
    // Before Linux 6.13, the kernel's own times are as coarse as its clock tick: two changes in one tick would look like one.
    this.#isCurrent = savedMs % 1 === FRACTION_MS && savedMs === system.status(directory)?.modifiedMs;
  }

  /**
   * Opens the index of the reservations in `directory`. A new index is empty and not current. Returns undefined if no
   * index can be kept: reservations are then found without it.
   */
  static open(system: System, dataDir: string, network: string, directory: string): OwnerIndex | undefined {
    const home = `${dataDir}/${HOST_LOCAL_INDEX}/${network}`;
    try {
      const thisBoot = `${home}/${readBootId(system)}`;
      if (system.status(thisBoot) !== undefined) return new OwnerIndex(system, directory, thisBoot, thisBoot);
      const [earlier] = namesIn(system, home);
      if (earlier !== undefined) return new OwnerIndex(system, directory, thisBoot, `${home}/${earlier}`);
      system.makeDirectory(thisBoot, DIRECTORY_MODE);
      return new OwnerIndex(system, directory, thisBoot, thisBoot);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return undefined;
    }
  }

  /** True if no other program has changed the directory since the index was saved, and after `rebuild`. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** Marks the index as wrong. It is not current again until `rebuild`. */
  distrust(): void {
    this.#isCurrent = false;
  }

  /** True if the index was made before the last boot, until `adopt`. */
  get isOfEarlierBoot(): boolean {
    return this.#path !== this.#thisBoot;
  }

  /** Makes the index belong to this boot. Throws `SystemError`. */
  adopt(): void {
    this.#system.rename(this.#path, this.#thisBoot);
    this.#path = this.#thisBoot;
  }

  /** Returns the names of an owner's addresses according to the index. Undefined for owners that it cannot contain. */
  namesOf(owner: Owner): string[] | undefined {
    const key = keyOf(owner);
    if (key === undefined) return undefined;
    const start = `${key} `;
    const lines = this.#linesOf(shardOf(owner)).filter((line) => line.startsWith(start));
    return lines.map((line) => line.slice(start.length));
  }

  /** True if this reservation existed when the index was saved, and is not a newer one with the same name and owner. */
  hasSeen(entry: Entry): boolean {
    if (!this.namesOf(entry)?.includes(entry.name)) return false;
    const seen = this.#system.status(`${this.#path}/${shardOf(entry)}`);
    const file = this.#system.status(`${this.#directory}/${entry.name}`);
    return seen !== undefined && file !== undefined && file.modifiedMs <= seen.modifiedMs;
  }

  /** True if an attachment had this name when the index was saved, and the file has not been written since. */
  hasSeenName(name: string): boolean {
    const file = this.#system.status(`${this.#directory}/${name}`);
    return namesIn(this.#system, this.#path).some((shard) => {
      if (!this.#linesOf(shard).some((line) => /@\S/.test(line) && line.endsWith(` ${name}`))) return false;
      const seen = this.#system.status(`${this.#path}/${shard}`);
      return seen !== undefined && file !== undefined && file.modifiedMs <= seen.modifiedMs;
    });
  }

  add(entry: Entry): void {
    const line = lineOf(entry);
    const shard = shardOf(entry);
    if (line !== undefined) this.#set(shard, [...this.#linesOf(shard), line]);
  }

  remove(entry: Entry): void {
    const line = lineOf(entry);
    const shard = shardOf(entry);
    const lines = this.#linesOf(shard);
    const others = lines.filter((other) => other !== line);
    if (others.length < lines.length) this.#set(shard, others);
  }

  /** Replaces the content of the index by `entries`. */
  rebuild(entries: readonly Entry[]): void {
    const shards = new Map<string, string[]>();
    for (const shard of namesIn(this.#system, this.#path)) shards.set(shard, []);
    for (const entry of entries) {
      const line = lineOf(entry);
      if (line === undefined) continue;
      const shard = shardOf(entry);
      const lines = shards.get(shard);
      if (lines === undefined) shards.set(shard, [line]);
      else lines.push(line);
    }
    for (const [shard, lines] of shards) this.#set(shard, lines);
    this.#isCurrent = true;
  }

  /** Writes the changes. If that fails, the next call repairs the index, because the two directories' times differ. */
  save(): void {
    if (!this.#isCurrent) return;
    try {
      for (const shard of this.#changed) {
        rewriteFile(this.#system, `${this.#path}/${shard}`, this.#linesOf(shard).join("\n"));
      }
      const nowMs = Math.floor(this.#system.status(this.#directory)?.modifiedMs ?? 0) + FRACTION_MS;
      for (const path of [this.#path, this.#directory]) this.#system.setModified(path, nowMs);
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
  }

  #set(shard: string, lines: readonly string[]): void {
    this.#shards.set(shard, lines);
    this.#changed.add(shard);
  }

  #linesOf(shard: string): readonly string[] {
    let lines = this.#shards.get(shard);
    if (lines === undefined) {
      lines = this.#read(shard);
      this.#shards.set(shard, lines);
    }
    return lines;
  }

  #read(shard: string): string[] {
    try {
      const text = new TextDecoder().decode(this.#system.readFile(`${this.#path}/${shard}`));
      return text.split("\n").filter((line) => line !== "");
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return [];
    }
  }
}

/** Container ids contain no "@". */
function keyOf({ containerId, ifName = "" }: Owner): string | undefined {
  const key = `${containerId}@${ifName}`;
  return KEY.test(key) ? key : undefined;
}

function lineOf(entry: Entry): string | undefined {
  const key = keyOf(entry);
  return key === undefined ? undefined : `${key} ${entry.name}`;
}

/** Uses the end of the id, because random and numbered ids differ there. */
function shardOf({ containerId }: Owner): string {
  // One file would grow with the node. One file for each owner took nine seconds to make for 16,000 reservations.
  let digest = 0;
  const end = containerId.slice(-12);
  for (let at = 0; at < end.length; at++) digest = (digest * 31 + end.charCodeAt(at)) % SHARDS;
  return digest.toString(16).padStart(2, "0");
}

function namesIn(system: System, directory: string): string[] {
  try {
    return system.readDirectory(directory);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
    return [];
  }
}
