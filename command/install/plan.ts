/** What an installation has to do: from what is there and what is wanted, to a word for each name. Pure. */

import { EXECUTABLE } from "../../pkg/footprint.ts";
import type { BinDirectory, BinFile } from "./bin-directory.ts";

export interface InstallOptions {
  /** Of the plugins; the file `weft` itself is always wanted. */
  readonly names: readonly string[];
  /** `undefined`: whatever has another name is left as it is. Else all that this build knows: none of them is a leftover. */
  readonly knownNames: readonly string[] | undefined;
  /** Others' files stay where they are. */
  readonly keepsForeign: boolean;
  /** Others' files that are replaced are not kept. */
  readonly discards: boolean;
}

/**
 * `right`: leads to this build already. `add`: nothing is there. `update`: another build of weft is there. `replace`: another
 * program's file is there. `leave`: the same, and it stays. `remove`: a link to the `weft` of an earlier build, under a
 * name that is no plugin's any more. A copy, or a symbolic link, is an operator's.
 */
export type Action = "right" | "add" | "update" | "replace" | "leave" | "remove";

export interface InstallationPlan {
  readonly directory: string;
  /** False where the directory's `weft` holds these very bytes. */
  readonly copies: boolean;
  readonly files: readonly { readonly name: string; readonly action: Action }[];
  /** Names under which others' files are to be kept. */
  readonly keeps: readonly string[];
  /** Names that something stands under which is no file. */
  readonly obstacles: readonly string[];
  /** What a killed installation has left: paths. */
  readonly unfinished: readonly string[];
}

/** Whatever the umask is. */
export const MODE = 0o755;

/** `isThisBuild` compares the file's content with the one to install. */
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
    // Where the file system has no links.
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

/** True when there is nothing to do. */
export function isEmpty(plan: InstallationPlan): boolean {
  return plan.files.every(({ action }) => action === "right" || action === "leave") && plan.unfinished.length === 0;
}
