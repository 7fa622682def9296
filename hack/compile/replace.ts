/** Replaces files that may be in use: a running program keeps the old file. */
import { renameSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";

/** Calls `make` to create a file or link under a temporary name, and renames it to `path` by rename(2). */
export function replace(path: string, make: (temporary: string) => void): void {
  const temporary = `${dirname(path)}/.${basename(path)}`;
  rmSync(temporary, { force: true });
  make(temporary);
  renameSync(temporary, path);
  // rename(2) does nothing if both names refer to the same file already.
  rmSync(temporary, { force: true });
}
