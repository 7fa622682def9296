/** Changes of files as data. Each prints as the command that does the same, and can be repeated without effect. */

import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

export type FileStep =
  | { readonly do: "remove" | "removeDirectory"; readonly path: string }
  | { readonly do: "rename"; readonly path: string; readonly to: string };

export function fileStepText(step: FileStep): string {
  if (step.do === "rename") return `mv ${quoted(step.path)} ${quoted(step.to)}`;
  return `${step.do === "remove" ? "rm" : "rmdir"} ${quoted(step.path)}`;
}

/** Quotes a word for a shell. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Carries out the step. Succeeds if the file is gone already. Throws `SystemError`. */
export function takeFileStep(step: FileStep, system: System): void {
  try {
    if (step.do === "rename") system.rename(step.path, step.to);
    else if (step.do === "remove") system.unlink(step.path);
    else system.removeDirectory(step.path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
  }
}
