/** Reads the runtime's cached results of this node's attachments. */

import { cachedResultName } from "../cni/cached-result.ts";
import { isCniError } from "../cni/errors.ts";
import { parseNetworkConfig } from "../cni/network.ts";
import { CACHE_DIRECTORIES, DEFAULT_FLANNEL_DIR } from "../footprint.ts";
import { ownerMark, parseOwner } from "../kernel/owner.ts";
import { isSystemError } from "../sys/errors.ts";
import type { FileStatus, Files } from "../sys/system.ts";
import { type CachedAttachment, parseCachedAttachment } from "./cached.ts";

type Reading = Pick<Files, "readDirectory" | "readFile" | "status">;
type Version = Pick<FileStatus, "inode" | "modifiedMs" | "sizeBytes">;

interface Entry {
  readonly version: Version;
  /** Undefined if the file describes no attachment. */
  readonly attachment: CachedAttachment | undefined;
}

/**
 * Reads the cached attachments. A file that has not changed since the last read is not read again: a node has hundreds.
 */
export class CachedAttachments {
  readonly #files: Reading;
  readonly #directories: readonly string[];
  #entries: ReadonlyMap<string, Entry> = new Map();

  constructor(files: Reading, directories: readonly string[] = CACHE_DIRECTORIES) {
    this.#files = files;
    this.#directories = directories;
  }

  /**
   * Returns the attachments by their marks. If two files describe one attachment, the newer one counts. Throws
   * `SystemError`.
   */
  read(): ReadonlyMap<string, CachedAttachment> {
    const entries = new Map<string, Entry>();
    for (const directory of this.#directories) {
      for (const name of namesIn(this.#files, directory)) {
        const path = `${directory}/${name}`;
        const entry = this.#entry(path);
        if (entry !== undefined) entries.set(path, entry);
      }
    }
    this.#entries = entries;
    const sorted = [...entries.values()].sort((one, other) => one.version.modifiedMs - other.version.modifiedMs);
    return new Map(
      sorted.flatMap(({ attachment }) =>
        attachment === undefined ? [] : [[ownerMark(attachment), attachment] as const],
      ),
    );
  }

  /**
   * True if the last read found a file whose name is that of the attachment, whatever its content: old versions of
   * libcni write files without a configuration.
   */
  hasFileOf(mark: string): boolean {
    const attachment = parseOwner(mark);
    if (attachment === undefined) return false;
    const name = cachedResultName(attachment.network, attachment.containerId, attachment.ifName);
    return this.#directories.some((directory) => this.#entries.has(`${directory}/${name}`));
  }

  /** Undefined if the file no longer exists. */
  #entry(path: string): Entry | undefined {
    const version = this.#files.status(path);
    if (version?.kind !== "file") return undefined;
    const known = this.#entries.get(path);
    if (known !== undefined && isSame(known.version, version)) return known;
    const attachment = readCachedAttachment(this.#files, path);
    return { version, attachment: attachment === undefined ? undefined : withDelegate(this.#files, attachment) };
  }
}

/**
 * Replaces flannel's configuration by its delegate's, which flannel's plugin saved: ADD completed it with values from
 * flanneld.
 */
function withDelegate(files: Pick<Files, "readFile">, attachment: CachedAttachment): CachedAttachment {
  const [first, ...chained] = attachment.plugins;
  if (first?.value("type") !== "flannel") return attachment;
  const directory = first.optionalString("dataDir") || DEFAULT_FLANNEL_DIR;
  try {
    const { name, object } = parseNetworkConfig(files.readFile(`${directory}/${attachment.containerId}`));
    return name === attachment.network ? { ...attachment, plugins: [object, ...chained] } : attachment;
  } catch (error) {
    if (isCniError(error) || isSystemError(error, "ENOENT", "ENOTDIR", "EACCES")) return attachment;
    throw error;
  }
}

function isSame(one: Version, other: Version): boolean {
  return one.inode === other.inode && one.modifiedMs === other.modifiedMs && one.sizeBytes === other.sizeBytes;
}

/** Returns undefined if the file describes no attachment or has just been removed. */
export function readCachedAttachment(files: Pick<Files, "readFile">, path: string): CachedAttachment | undefined {
  try {
    return parseCachedAttachment(files.readFile(path));
  } catch (error) {
    if (isSystemError(error, "ENOENT", "EISDIR")) return undefined;
    throw error;
  }
}

function namesIn(files: Pick<Files, "readDirectory">, directory: string): readonly string[] {
  try {
    return files.readDirectory(directory);
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}
