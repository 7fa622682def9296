/** Plans an installation: compares the directory with the options, and returns an action for each name. Pure. */

import { EXECUTABLE } from "../../pkg/footprint.ts";
import type { BinDirectory, BinFile } from "./bin-directory.ts";

export interface InstallOptions {
  /** Names of plugins. The file `weft` itself is always installed. */
  readonly names: readonly string[];
  /**
   * All plugins of this build; links under other names are leftovers. Undefined: files of other names are left alone.
   */
  readonly knownNames: readonly string[] | undefined;
  /** True if other programs' files are not replaced. */
  readonly keepsForeign: boolean;
  /** True if replaced files are not kept. */
  readonly discards: boolean;
}

/**
 * The action for a name.
 *
 * - `right`: it is this build already.
 * - `add`: it does not exist.
 * - `update`: it is another build of weft.
 * - `replace`: it is another program's file.
 * - `leave`: it is another program's file, which is not replaced.
 * - `remove`: it is a link to an earlier build's `weft`, and its name is no longer a plugin's. Copies and symbolic
 *   links are operators' files and are not removed.
 */
export type Action = "right" | "add" | "update" | "replace" | "leave" | "remove";

export interface InstallationPlan {
  readonly directory: string;
  /** False if the directory's `weft` has the same bytes already. */
  readonly copies: boolean;
  readonly files: readonly { readonly name: string; readonly action: Action }[];
  /** Names of other programs' files to keep. */
  readonly keeps: readonly string[];
  /** Names that are not files, for example directories. */
  readonly obstacles: readonly string[];
  /** Paths of files that a killed installation has left. */
  readonly unfinished: readonly string[];
}

/** Set independently of the umask. */
export const MODE = 0o755;

/** `isThisBuild` compares the content of a file with the one to install. */
export function planInstallation(
  observed: BinDirectory,
  { names, knownNames, keepsForeign, discards }: InstallOptions,
  isThisBuild: (file: BinFile) => boolean,
): InstallationPlan {
  const base = observed.files.get(EXECUTABLE);
  const isBaseRight = base !== undefined && base.mode === MODE && isThisBuild(base);
  const actionOf = (name: string): Action => {
    const file = observed.files.get(name);
    if (name === EXECUTABLE ? isBaseRight : isBaseRight && file?.identity === base.identity) return "right";
    // The case of a file system without hard links.
    if (isBaseRight && file?.mode === MODE && !file.isSymlink && isThisBuild(file)) return "right";
    if (file === undefined) return "add";
    if (file.buildId !== undefined) return "update";
    return keepsForeign && name !== EXECUTABLE ? "leave" : "replace";
  };
  const wanted = [EXECUTABLE, ...names].map((name) => ({ name, action: actionOf(name) }));
  const isLeftover = (file: BinFile) => knownNames?.includes(file.name) === false && isLinkOf(base, file);
  const leftovers = isBaseRight ? [] : [...observed.files.values()].filter(isLeftover);
  const isObstacle = (name: string): boolean => {
    const kind = observed.files.get(name)?.kind;
    return kind === "directory" || kind === "other";
  };
  const changed = wanted.filter(({ action }) => action !== "right" && action !== "leave");
  return {
    directory: observed.path,
    copies: !isBaseRight,
    files: [...wanted, ...leftovers.map(({ name }) => ({ name, action: "remove" as const }))],
    keeps: discards ? [] : wanted.filter(({ action }) => action === "replace").map(({ name }) => name),
    obstacles: changed.map(({ name }) => name).filter(isObstacle),
    unfinished: observed.unfinished,
  };
}

/** True for a hard link to `base`, the directory's `weft`, under another name. */
export function isLinkOf(base: BinFile | undefined, { name, identity, isSymlink }: BinFile): boolean {
  return base?.buildId !== undefined && name !== base.name && identity === base.identity && !isSymlink;
}

export function namesOf({ files }: InstallationPlan, ...actions: readonly Action[]): string[] {
  return files.filter(({ action }) => actions.includes(action)).map(({ name }) => name);
}

/** True if there is nothing to do. */
export function isEmpty(plan: InstallationPlan): boolean {
  return plan.files.every(({ action }) => action === "right" || action === "leave") && plan.unfinished.length === 0;
}
