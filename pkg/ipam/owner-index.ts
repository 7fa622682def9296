/**
 * The index of addresses by attachment. It is the inverse of the reservations' files, so that a call need not read all
 * of them to find its own. It is next to the network's directory, because other programs list that directory:
 *
 *     <dataDir>/.weft/<network>/<boot id>/<shard>   lines "<container id>@<interface> <address>"
 *
 * Owners are distributed to shards by a digest of the container's id. A call reads and writes one shard, which stays
 * small: it has 15 lines if the node has 60,000 reservations. Indexing them takes no more than `SHARDS` files.
 *
 * The index may be wrong. An entry counts only if the reservation's own file confirms it. To detect changes by other
 * programs, a call ends by setting the same modification time on both directories, with a quarter of a millisecond as its
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

/** With 256 shards, an ADD on a node with 60,000 reservations needed 2.6 times the instructions of one on an empty node. */
const SHARDS = 4096;
const SHARD_DIGITS = 3;
/**
 * The fraction of the times that the index sets. Other times have it by chance once in a million. It differs for each
 * layout of the shards, so that a version of weft with another layout rebuilds the index instead of missing entries.
 */
const FRACTION_MS = 0.25;
/** The fraction of versions with 256 shards. */
const EARLIER_FRACTION_MS = 0.5;

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
  /** True if no program other than weft, of any version, had changed the directory when the index was opened. */
  readonly isUntouched: boolean;
  /** The shards that were read or must be written: a line feed, then each line with its line feed. */
  readonly #shards = new Map<string, string>();
  readonly #changed = new Set<string>();

  private constructor(system: System, directory: string, thisBoot: string, path: string) {
    this.#system = system;
    this.#directory = directory;
    this.#thisBoot = thisBoot;
    this.#path = path;
    const savedMs = system.status(path)?.modifiedMs ?? 0;
    // Before Linux 6.13, the kernel's own times are as coarse as its clock tick: two changes in one tick would look like one.
    const isSame = savedMs === system.status(directory)?.modifiedMs;
    this.#isCurrent = isSame && savedMs % 1 === FRACTION_MS;
    this.isUntouched = this.#isCurrent || (isSame && savedMs % 1 === EARLIER_FRACTION_MS);
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
    return lines(this.#textOf(shardOf(owner)), `${key} `);
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
      if (!lines(this.#textOf(shard)).some((line) => /@\S/.test(line) && line.endsWith(` ${name}`))) return false;
      const seen = this.#system.status(`${this.#path}/${shard}`);
      return seen !== undefined && file !== undefined && file.modifiedMs <= seen.modifiedMs;
    });
  }

  add(entry: Entry): void {
    const line = lineOf(entry);
    const shard = shardOf(entry);
    if (line !== undefined) this.#set(shard, `${this.#textOf(shard)}${line}\n`);
  }

  remove(entry: Entry): void {
    const line = lineOf(entry);
    const shard = shardOf(entry);
    const text = this.#textOf(shard);
    const at = line === undefined ? -1 : text.indexOf(`\n${line}\n`);
    if (line !== undefined && at >= 0) this.#set(shard, `${text.slice(0, at)}${text.slice(at + 1 + line.length)}`);
  }

  /** Replaces the content of the index by `entries`. */
  rebuild(entries: readonly Entry[]): void {
    const shards = new Map<string, string[]>();
    for (const shard of namesIn(this.#system, this.#path)) shards.set(shard, []);
    for (const entry of entries) {
      const line = lineOf(entry);
      if (line === undefined) continue;
      const shard = shardOf(entry);
      const known = shards.get(shard);
      if (known === undefined) shards.set(shard, [line]);
      else known.push(line);
    }
    for (const [shard, all] of shards) this.#set(shard, `\n${all.map((line) => `${line}\n`).join("")}`);
    this.#isCurrent = true;
  }

  /** Writes the changes. If that fails, the next call repairs the index, because the two directories' times differ. */
  save(): void {
    if (!this.#isCurrent) return;
    try {
      for (const shard of this.#changed) {
        rewriteFile(this.#system, `${this.#path}/${shard}`, this.#textOf(shard).slice(1));
      }
      const nowMs = Math.floor(this.#system.status(this.#directory)?.modifiedMs ?? 0) + FRACTION_MS;
      for (const path of [this.#path, this.#directory]) this.#system.setModified(path, nowMs);
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
  }

  #set(shard: string, text: string): void {
    this.#shards.set(shard, text);
    this.#changed.add(shard);
  }

  #textOf(shard: string): string {
    let text = this.#shards.get(shard);
    if (text === undefined) {
      text = this.#read(shard);
      this.#shards.set(shard, text);
    }
    return text;
  }

  /** A file without a last line feed was cut off by a power failure. */
  #read(shard: string): string {
    try {
      const text = new TextDecoder().decode(this.#system.readFile(`${this.#path}/${shard}`));
      return text === "" || text.endsWith("\n") ? `\n${text}` : `\n${text}\n`;
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return "\n";
    }
  }
}

/** Returns the rest of the lines that begin with `start`. Searches the text, because splitting it costs more. */
function lines(text: string, start = ""): string[] {
  const found: string[] = [];
  const mark = `\n${start}`;
  for (let at = text.indexOf(mark); at >= 0 && at + 1 < text.length; at = text.indexOf(mark, at + 1)) {
    const from = at + mark.length;
    found.push(text.slice(from, text.indexOf("\n", from)));
  }
  return found;
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
  return digest.toString(16).padStart(SHARD_DIGITS, "0");
}

function namesIn(system: System, directory: string): string[] {
  try {
    return system.readDirectory(directory);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
    return [];
  }
}
