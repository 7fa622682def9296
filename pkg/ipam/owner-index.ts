/**
 * Which addresses each attachment has: what the reservations' files say, the other way round, so that nobody has to read
 * all of them to find one's own. It lies beside the network's directory, since others list that one:
 *
 *     <dataDir>/.weft/<network>/<boot id>/<shard>   lines "<container id>@<interface> <address>"
 *
 * Owners are dealt out to shards by a digest of the container's id: a call reads and writes one, which stays small, and
 * to index thousands of reservations takes no more than `SHARDS` files.
 *
 * The index may be wrong, and is believed only where a reservation's own file says the same. To tell whether others
 * wrote meanwhile, both directories get the same modification time at the end of a call, to the half of a millisecond:
 * the kernel puts another one on the network's as soon as a file comes or goes, whoever does it and however soon after.
 *
 * Its directory is named after the boot, and so it marks what was reserved before the machine was last started. A name
 * is on the disk no later than the reservations made after it, whenever the power fails; a file's content may not be.
 *
 * Used under the network's lock only.
 */

import { HOST_LOCAL_INDEX } from "../footprint.ts";
import { readBootId } from "../sys/boot.ts";
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";
import { rewriteFile } from "./rewrite.ts";

const SHARDS = 256;
/** Of the times that the index sets, and by chance of one in a million others. */
const FRACTION_MS = 0.5;

/** What an owner's line may begin with; others, whom only a stranger's file can name, are found without the index. */
const KEY = /^[\w.-]+@\S*$/;

const DIRECTORY_MODE = 0o755;

/** Who has a reservation. Files of old form name no interface. */
export interface Owner {
  readonly containerId: string;
  readonly ifName?: string | undefined;
}

/** An address in the spelling of its file, and who has it. */
export interface Entry extends Owner {
  readonly name: string;
}

export class OwnerIndex {
  readonly #system: System;
  readonly #directory: string;
  readonly #thisBoot: string;
  #path: string;
  #isCurrent: boolean;
  /** Lines of the shards that were read or are to be written. */
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
   * The index of the reservations in `directory`; it begins empty, and not current. `undefined` where none can be kept:
   * then everything is found without it.
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

  /** True while nobody else has changed the directory since the index was saved, and after `rebuild`. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** It was found to be wrong: it is not current until `rebuild`. */
  distrust(): void {
    this.#isCurrent = false;
  }

  /** True when the machine was started since the index was made; until `adopt`. */
  get isOfEarlierBoot(): boolean {
    return this.#path !== this.#thisBoot;
  }

  /** From now on the index is this boot's. Throws `SystemError`. */
  adopt(): void {
    this.#system.rename(this.#path, this.#thisBoot);
    this.#path = this.#thisBoot;
  }

  /** The names of an owner's addresses, as far as the index goes; `undefined` for owners that it cannot have. */
  namesOf(owner: Owner): string[] | undefined {
    const key = keyOf(owner);
    if (key === undefined) return undefined;
    const start = `${key} `;
    const lines = this.#linesOf(shardOf(owner)).filter((line) => line.startsWith(start));
    return lines.map((line) => line.slice(start.length));
  }

  /** True when this very reservation was there when the index was saved, and not another of the same name and owner. */
  hasSeen(entry: Entry): boolean {
    if (!this.namesOf(entry)?.includes(entry.name)) return false;
    const seen = this.#system.status(`${this.#path}/${shardOf(entry)}`);
    const file = this.#system.status(`${this.#directory}/${entry.name}`);
    return seen !== undefined && file !== undefined && file.modifiedMs <= seen.modifiedMs;
  }

  /** True when an attachment had this name when the index was saved, and the file was not written since. */
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

  /** Makes the index say what `entries` say, and nothing else. */
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

  /** Writes what changed. What cannot be written is made good by the next call, which finds the times unlike. */
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

/** Container ids have no "@" in them. */
function keyOf({ containerId, ifName = "" }: Owner): string | undefined {
  const key = `${containerId}@${ifName}`;
  return KEY.test(key) ? key : undefined;
}

function lineOf(entry: Entry): string | undefined {
  const key = keyOf(entry);
  return key === undefined ? undefined : `${key} ${entry.name}`;
}

/** Ids differ at their end, be they random or counted. */
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
