/** What the runtime remembers of this node's attachments, read from its files. */

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
  /** `undefined` where the file tells no attachment. */
  readonly attachment: CachedAttachment | undefined;
}

/** A file that did not change since the last reading is not read again: a node has hundreds. */
export class CachedAttachments {
  readonly #files: Reading;
  readonly #directories: readonly string[];
  #entries: ReadonlyMap<string, Entry> = new Map();

  constructor(files: Reading, directories: readonly string[] = CACHE_DIRECTORIES) {
    this.#files = files;
    this.#directories = directories;
  }

  /** By the attachments' marks; of two files of one attachment the newer. Throws `SystemError`. */
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
   * True where the last reading has found a file of the attachment by its name, whatever is in it: files of old versions of
   * libcni hold no configuration.
   */
  hasFileOf(mark: string): boolean {
    const attachment = parseOwner(mark);
    if (attachment === undefined) return false;
    const name = cachedResultName(attachment.network, attachment.containerId, attachment.ifName);
    return this.#directories.some((directory) => this.#entries.has(`${directory}/${name}`));
  }

  /** `undefined` where there is no such file any more. */
  #entry(path: string): Entry | undefined {
    const version = this.#files.status(path);
    if (version?.kind !== "file") return undefined;
    const known = this.#entries.get(path);
    if (known !== undefined && isSame(known.version, version)) return known;
    const attachment = readCachedAttachment(this.#files, path);
    return { version, attachment: attachment === undefined ? undefined : withDelegate(this.#files, attachment) };
  }
}

/** With that in flannel's place: what its configuration does not say came from flanneld at ADD. */
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

/** `undefined` for what tells none, or was removed just now. */
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
