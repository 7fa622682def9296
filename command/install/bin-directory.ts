/**
 * A directory of plugins as it is found: which files are weft, which are others'. Besides them it may hold, of weft's:
 *
 *     .weft-install-*   what an installation that was killed has left
 *     .weft-replaced/   others' files that stood under names that weft took, so that they can be put back
 */

import { REPLACED_DIR, UNFINISHED_INSTALL_START } from "../../pkg/footprint.ts";
import type { System } from "../../pkg/sys/system.ts";
import { buildIdOf } from "./mark.ts";

/** No build of weft was ever a quarter as large: a larger file is not even read. */
const LARGEST_WEFT_BYTES = 16 * 2 ** 20;

export interface BinFile {
  readonly name: string;
  /** Behind symbolic links; "absent" for a link that leads nowhere. */
  readonly kind: "file" | "directory" | "other" | "absent";
  /** Equal for hard links of one file, and for what leads to it. */
  readonly identity: string;
  readonly isSymlink: boolean;
  readonly mode: number;
  /** `undefined` for what is not weft. */
  readonly buildId: string | undefined;
}

export interface BinDirectory {
  readonly path: string;
  readonly isThere: boolean;
  /** Without those of the two kinds above. */
  readonly files: ReadonlyMap<string, BinFile>;
  /** Names in `.weft-replaced`. */
  readonly replaced: readonly string[];
  /** Paths. */
  readonly unfinished: readonly string[];
}

/** Throws `SystemError` where it cannot be read, or is no directory. */
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
