/**
 * Installs the files atomically. A plugin that is called at any moment is a complete file, and a process that dies at
 * any moment leaves nothing that the next installation does not repair: files are first created under temporary names,
 * which is where lack of space would fail, then renamed by rename(2).
 */

import { EXECUTABLE, REPLACED_DIR, UNFINISHED_INSTALL_START } from "../../pkg/footprint.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { type InstallationPlan, MODE, namesOf } from "./plan.ts";

/** Errors of link(2) if the file system does not support hard links, or the file has the maximum number of links. */
const WITHOUT_LINKS = ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

/**
 * `image` has the bytes of the file to install. Throws `SystemError`; files that were not renamed yet are unchanged
 * then.
 */
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
    // The old `weft` is replaced last: the next installation recognises files of its build by it, if this one is
    // killed.
    prepared.putInPlace(EXECUTABLE);
    for (const name of namesOf(plan, "remove")) removeFile(`${plan.directory}/${name}`, system);
    prepared.putInPlace();
  } finally {
    prepared.abandon();
  }
  system.sync(plan.directory);
}

/** Files under temporary names, and their destinations. */
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

  /** Keeps another program's file before it is replaced. For a moment, both names refer to the same file. */
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
    // The kept copy must be in place before the file is replaced.
    this.#moves.unshift({ from, to: `${folder}/${name}` });
  }

  /** Renames all files except the one named `but`. */
  putInPlace(but?: string): void {
    const staying = this.#moves.filter(({ to }) => to === `${this.#directory}/${but}`);
    for (const { from, to } of this.#moves.filter((move) => !staying.includes(move))) {
      this.#system.rename(from, to);
      // rename(2) does nothing if both names refer to the same file already.
      removeFile(from, this.#system);
    }
    this.#moves.splice(0, this.#moves.length, ...staying);
    this.#madeDirectory = undefined;
  }

  /** Removes all files that were not renamed. */
  abandon(): void {
    for (const { from } of this.#moves) removeFile(from, this.#system);
    if (this.#madeDirectory !== undefined) {
      try {
        this.#system.removeDirectory(this.#madeDirectory);
      } catch (error) {
        // The folder contains a file that was renamed.
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
