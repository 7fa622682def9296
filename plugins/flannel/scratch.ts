/**
 * What the delegate was given at ADD, kept for DEL in flannel's own form: `<dataDir>/<container id>`, the configuration as
 * JSON. flannel's plugin reads what this one wrote and the other way round, so that a node can go back.
 */

import { isCniError } from "../../pkg/cni/errors.ts";
import { parseNetworkConfig } from "../../pkg/cni/network.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

/** A directory of kept configurations. Container ids begin with a letter or digit, so names with a dot are free. */
export class Scratch {
  readonly #files: Files;
  readonly #directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /** Replaces what was kept; another reader sees the old or the new one, never half of it. Throws `SystemError`. */
  keep(containerId: string, config: Readonly<Record<string, unknown>>): void {
    this.#files.makeDirectory(this.#directory, DIRECTORY_MODE);
    const unfinished = `${this.#directory}/.${containerId}`;
    this.#files.writeFile(unfinished, new TextEncoder().encode(JSON.stringify(config)), { mode: FILE_MODE });
    this.#files.rename(unfinished, this.#path(containerId));
  }

  /** `undefined` where nothing is kept for `network`, or what is there cannot be read as a configuration. */
  find(containerId: string, network: string): Readonly<Record<string, unknown>> | undefined {
    try {
      const { name, object } = parseNetworkConfig(this.#files.readFile(this.#path(containerId)));
      return name === network ? object.values() : undefined;
    } catch (error) {
      if (isSystemError(error, "ENOENT", "ENOTDIR") || isCniError(error)) return undefined;
      throw error;
    }
  }

  /** Silent where nothing is kept. */
  forget(containerId: string): void {
    try {
      this.#files.unlink(this.#path(containerId));
    } catch (error) {
      if (!isSystemError(error, "ENOENT", "ENOTDIR")) throw error;
    }
  }

  /** The containers that something is kept for. */
  containers(): string[] {
    try {
      return this.#files.readDirectory(this.#directory).filter((name) => !name.startsWith("."));
    } catch (error) {
      if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
      throw error;
    }
  }

  #path(containerId: string): string {
    return `${this.#directory}/${containerId}`;
  }
}
