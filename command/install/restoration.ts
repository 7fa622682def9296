/** The executables that `weft install` has put into a directory go, and those that stood there before come back. Pure. */

import { EXECUTABLE, REPLACED_DIR } from "../../pkg/footprint.ts";
import type { FileStep } from "../node/file-steps.ts";
import type { BinDirectory, BinFile } from "./bin-directory.ts";
import { isLinkOf } from "./plan.ts";

export interface Restoration {
  readonly steps: readonly FileStep[];
  /** What stays, and why; for an operator. */
  readonly left: readonly string[];
  /** Names under which another program's file comes back. */
  readonly back: readonly string[];
  /** Names of weft's that go without a successor. */
  readonly gone: readonly string[];
  /** Names of weft's that stay. */
  readonly kept: readonly string[];
}

/** `isNeeded` names plugins that stay weft's where nothing else would stand in their place. */
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
  // In one step where another program's file comes back: its name is never without a file.
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
      // Last: it tells what else is of its build, to the next call, too.
      ...names.filter((name) => name === EXECUTABLE).map(stepOf),
      ...(isEmptied ? [{ do: "removeDirectory", path: `${bin.path}/${REPLACED_DIR}` } as const] : []),
    ],
    left: [
      ...stale.map((name) => `${keptPath(name)}: another ${name} stands in ${bin.path} by now`),
      ...weft
        .filter((file) => !ours.includes(file))
        .map(({ name }) => `${path(name)}: weft, under a name that weft install does not give`),
    ],
    back,
    gone,
    kept,
  };
}

/** `weft` itself stays with the last of its plugins. */
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
