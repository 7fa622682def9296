/**
 * Plans the removal of the executables that `weft install` put into a directory, and the return of the files that it
 * replaced. Pure.
 */

import { EXECUTABLE, REPLACED_DIR } from "../../pkg/footprint.ts";
import type { FileStep } from "../node/file-steps.ts";
import type { BinDirectory, BinFile } from "./bin-directory.ts";
import { isLinkOf } from "./plan.ts";

export interface Restoration {
  readonly steps: readonly FileStep[];
  /** Messages for an operator: files that are left, and why. */
  readonly left: readonly string[];
  /** Names of other programs' files that are restored. */
  readonly back: readonly string[];
  /** Names of weft's files that are removed without a replacement. */
  readonly gone: readonly string[];
  /** Names of weft's files that are kept. */
  readonly kept: readonly string[];
}

/** `isNeeded` is true for plugins that stay if no other file replaces them. */
export function planRestoration(
  bin: BinDirectory,
  pluginNames: readonly string[],
  isNeeded: (name: string) => boolean = () => false,
): Restoration {
  const path = (name: string) => `${bin.path}/${name}`;
  const keptPath = (name: string) => `${bin.path}/${REPLACED_DIR}/${name}`;
  const given = new Set([EXECUTABLE, ...pluginNames, ...bin.replaced]);
  const weft = [...bin.files.values()].filter(({ buildId }) => buildId !== undefined);
  const ours = weft.filter((file) => given.has(file.name) || isLinkOf(bin.files.get(EXECUTABLE), file));
  const isOurs = (name: string) => ours.some((file) => file.name === name);
  // One rename restores another program's file, so its name always has a file.
  const back = bin.replaced.filter((name) => !bin.files.has(name) || isOurs(name));
  const stale = bin.replaced.filter((name) => !back.includes(name));
  const { kept, gone } = partOurs(ours, back, isNeeded);
  const stepOf = (name: string): FileStep =>
    back.includes(name) ? { do: "rename", path: keptPath(name), to: path(name) } : { do: "remove", path: path(name) };
  const names = [...back, ...gone];
  const isEmptied = stale.length === 0 && bin.replaced.length > 0;
  return {
    steps: [
      ...names.filter((name) => name !== EXECUTABLE).map(stepOf),
      ...bin.unfinished.map((each): FileStep => ({ do: "remove", path: each })),
      // Last: the next call recognises files of its build by it, if this one is killed.
      ...names.filter((name) => name === EXECUTABLE).map(stepOf),
      ...(isEmptied ? [{ do: "removeDirectory", path: `${bin.path}/${REPLACED_DIR}` } as const] : []),
    ],
    left: [
      ...stale.map((name) => `${keptPath(name)}: ${bin.path} has another ${name} now`),
      ...weft
        .filter((file) => !ours.includes(file))
        .map(({ name }) => `${path(name)}: a copy of weft under a name that weft install does not use`),
    ],
    back,
    gone,
    kept,
  };
}

/** `weft` itself is kept as long as one of its plugins is. */
function partOurs(
  ours: readonly BinFile[],
  back: readonly string[],
  isNeeded: (name: string) => boolean,
): { readonly kept: string[]; readonly gone: string[] } {
  const own = ours.map(({ name }) => name).filter((name) => !back.includes(name));
  const needed = own.filter((name) => name !== EXECUTABLE && isNeeded(name));
  const kept = own.filter((name) => needed.includes(name) || (name === EXECUTABLE && needed.length > 0));
  return { kept, gone: own.filter((name) => !kept.includes(name)) };
}
