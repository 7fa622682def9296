/**
 * Puts an installation into its directory so that a plugin called at any moment is a whole file, and a process that dies
 * at any moment leaves nothing that the next installation does not put right: everything that can fail for want of room
 * is made under other names first; then each takes its place by rename(2).
 */

import { EXECUTABLE, REPLACED_DIR, UNFINISHED_INSTALL_START } from "../../pkg/footprint.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { type InstallationPlan, MODE, namesOf } from "./plan.ts";

/** What link(2) answers where a file has one name alone, or as many as it can have. */
const WITHOUT_LINKS = ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

/** `image` are the bytes of the file to install. Throws `SystemError`; what was not yet renamed is then as it was. */
export function carryOut(plan: InstallationPlan, image: Uint8Array, system: System): void {
  for (const path of plan.unfinished) removeFile(path, system);
  const prepared = new Preparation(plan.directory, system);
  try {
    if (plan.copies) prepared.write(EXECUTABLE, image);
    const base = plan.copies ? prepared.pathOf(EXECUTABLE) : `${plan.directory}/${EXECUTABLE}`;
    for (const name of namesOf(plan, "add", "update", "replace")) {
      if (name !== EXECUTABLE) prepared.linkOrCopy(base, name, image);
    }
    for (const name of plan.keeps) prepared.keep(name);
  } catch (error) {
    prepared.abandon();
    throw error;
  }
  try {
    // The old `weft` goes last: it tells what else is of its build, to the next installation, too.
    prepared.putInPlace(EXECUTABLE);
    for (const name of namesOf(plan, "remove")) removeFile(`${plan.directory}/${name}`, system);
    prepared.putInPlace();
  } finally {
    prepared.abandon();
  }
  system.sync(plan.directory);
}

/** Files under names of their own, and where they are to go. */
class Preparation {
  readonly #directory: string;
  readonly #system: System;
  readonly #moves: { readonly from: string; readonly to: string }[] = [];
  #madeDirectory: string | undefined;

  constructor(directory: string, system: System) {
    this.#directory = directory;
    this.#system = system;
  }

  pathOf(name: string): string {
    return `${this.#directory}/${UNFINISHED_INSTALL_START}${name}`;
  }

  write(name: string, content: Uint8Array): void {
    this.#write(this.pathOf(name), content, MODE);
    this.#moves.push({ from: this.pathOf(name), to: `${this.#directory}/${name}` });
  }

  #write(path: string, content: Uint8Array, mode: number): void {
    try {
      this.#system.writeFile(path, content, { mode, exclusive: true });
      this.#system.setMode(path, mode);
      this.#system.sync(path);
    } catch (error) {
      removeFile(path, this.#system);
      throw error;
    }
  }

  linkOrCopy(from: string, name: string, content: Uint8Array): void {
    try {
      this.#system.link(from, this.pathOf(name));
    } catch (error) {
      if (!isSystemError(error, ...WITHOUT_LINKS)) throw error;
      this.write(name, content);
      return;
    }
    this.#moves.push({ from: this.pathOf(name), to: `${this.#directory}/${name}` });
  }

  /** Another program's file, before it is replaced: both names are the same file for a moment. */
  keep(name: string): void {
    const folder = `${this.#directory}/${REPLACED_DIR}`;
    const source = `${this.#directory}/${name}`;
    const from = `${folder}/${UNFINISHED_INSTALL_START}${name}`;
    if (this.#system.status(folder) === undefined) {
      this.#system.makeDirectory(folder, MODE);
      this.#madeDirectory = folder;
    }
    try {
      this.#system.link(source, from);
    } catch (error) {
      if (!isSystemError(error, ...WITHOUT_LINKS)) throw error;
      this.#write(from, this.#system.readFile(source), this.#system.status(source)?.mode ?? MODE);
    }
    // It has to be in its place before its successor is.
    this.#moves.unshift({ from, to: `${folder}/${name}` });
  }

  /** All but the file of the name `but`. */
  putInPlace(but?: string): void {
    const staying = this.#moves.filter(({ to }) => to === `${this.#directory}/${but}`);
    for (const { from, to } of this.#moves.filter((move) => !staying.includes(move))) {
      this.#system.rename(from, to);
      // rename(2) does nothing where both names are the same file already.
      removeFile(from, this.#system);
    }
    this.#moves.splice(0, this.#moves.length, ...staying);
    this.#madeDirectory = undefined;
  }

  /** Whatever has not taken its place goes. */
  abandon(): void {
    for (const { from } of this.#moves) removeFile(from, this.#system);
    if (this.#madeDirectory !== undefined) {
      try {
        this.#system.removeDirectory(this.#madeDirectory);
      } catch (error) {
        // A file that did take its place is in it.
        if (!isSystemError(error, "ENOTEMPTY")) throw error;
      }
    }
  }
}

function removeFile(path: string, system: System): void {
  try {
    system.unlink(path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
  }
}
