/** Files that may be in use while they are built anew: a running program keeps the old one. */
import { renameSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";

/** `make` makes a file, a link or whatever of the name it is given; it then takes the place of `path` by rename(2). */
export function replace(path: string, make: (temporary: string) => void): void {
  const temporary = `${dirname(path)}/.${basename(path)}`;
  rmSync(temporary, { force: true });
  make(temporary);
  renameSync(temporary, path);
  // rename(2) does nothing where both names are the same file already.
  rmSync(temporary, { force: true });
}
