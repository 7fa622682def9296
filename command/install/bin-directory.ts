/**
 * Reads a directory of plugins, and tells weft's files from other programs' files. The directory may also contain, from
 * weft:
 *
 * - `.weft-install-*`: leftovers of an installation that was killed
 * - `.weft-replaced/`: other programs' files that weft replaced, kept for restoring
 */

import { REPLACED_DIR, UNFINISHED_INSTALL_START } from "../../pkg/footprint.ts";
import type { System } from "../../pkg/sys/system.ts";
import { buildIdOf } from "./mark.ts";

/** A larger file is not read. No build of weft was ever a quarter as large. */
const LARGEST_WEFT_BYTES = 16 * 2 ** 20;

export interface BinFile {
  readonly name: string;
  /** The kind after symbolic links. "absent" for a dangling link. */
  readonly kind: "file" | "directory" | "other" | "absent";
  /** Equal for hard links of one file, and for symbolic links to it. */
  readonly identity: string;
  readonly isSymlink: boolean;
  readonly mode: number;
  /** Undefined if the file is not weft. */
  readonly buildId: string | undefined;
}

export interface BinDirectory {
  readonly path: string;
  readonly isThere: boolean;
  /** Without the files and the folder described above. */
  readonly files: ReadonlyMap<string, BinFile>;
  /** Names of files in `.weft-replaced`. */
  readonly replaced: readonly string[];
  /** Paths of `.weft-install-*` files. */
  readonly unfinished: readonly string[];
}

/** Throws `SystemError` if the directory cannot be read, or is not a directory. */
export function observeBinDirectory(path: string, system: System): BinDirectory {
  if (system.status(path) === undefined) {
    return { path, isThere: false, files: new Map(), replaced: [], unfinished: [] };
  }
  const names = system.readDirectory(path).sort();
  const kept = `${path}/${REPLACED_DIR}`;
  const replaced = system.status(kept)?.kind === "directory" ? system.readDirectory(kept).sort() : [];
  const buildIds = new Map<string, string | undefined>();
  const files = names
    .filter((name) => !name.startsWith(UNFINISHED_INSTALL_START) && name !== REPLACED_DIR)
    .map((name) => observeFile(path, name, buildIds, system));
  return {
    path,
    isThere: true,
    files: new Map(files.map((file) => [file.name, file])),
    replaced: replaced.filter((name) => !name.startsWith(UNFINISHED_INSTALL_START)),
    unfinished: [
      ...names.filter((name) => name.startsWith(UNFINISHED_INSTALL_START)).map((name) => `${path}/${name}`),
      ...replaced.filter((name) => name.startsWith(UNFINISHED_INSTALL_START)).map((name) => `${kept}/${name}`),
    ],
  };
}

function observeFile(
  directory: string,
  name: string,
  buildIds: Map<string, string | undefined>,
  system: System,
): BinFile {
  const path = `${directory}/${name}`;
  const status = system.status(path);
  const isSymlink = system.readLink(path) !== undefined;
  if (status === undefined) return { name, kind: "absent", identity: "", isSymlink, mode: 0, buildId: undefined };
  const identity = `${status.device}:${status.inode}`;
  const kind = status.kind === "file" || status.kind === "directory" ? status.kind : "other";
  if (kind === "file" && status.sizeBytes <= LARGEST_WEFT_BYTES && !buildIds.has(identity)) {
    buildIds.set(identity, buildIdOf(system.readFile(path)));
  }
  return { name, kind, identity, isSymlink, mode: status.mode, buildId: buildIds.get(identity) };
}
