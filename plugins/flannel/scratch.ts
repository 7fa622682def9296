/**
 * Keeps the configuration that the delegate got at ADD, for DEL. The format is flannel's own: `<dataDir>/<container
 * id>` contains the configuration as JSON. flannel's plugin and this one read each other's files, so a node can return
 * to flannel's plugin.
 */

import { isCniError } from "../../pkg/cni/errors.ts";
import { parseNetworkConfig } from "../../pkg/cni/network.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

/**
 * A directory of kept configurations. Container ids begin with a letter or a digit, so names that begin with a dot are
 * free.
 */
export class Scratch {
  readonly #files: Files;
  readonly #directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /**
   * Replaces the kept configuration. A concurrent reader sees the old or the new file, never a part of it. Throws
   * `SystemError`.
   */
  keep(containerId: string, config: Readonly<Record<string, unknown>>): void {
    this.#files.makeDirectory(this.#directory, DIRECTORY_MODE);
    const unfinished = `${this.#directory}/.${containerId}`;
    this.#files.writeFile(unfinished, new TextEncoder().encode(JSON.stringify(config)), { mode: FILE_MODE });
    this.#files.rename(unfinished, this.#path(containerId));
  }

  /** Undefined if nothing is kept for `network`, or the file is not a valid configuration. */
  find(containerId: string, network: string): Readonly<Record<string, unknown>> | undefined {
    try {
      const { name, object } = parseNetworkConfig(this.#files.readFile(this.#path(containerId)));
      return name === network ? object.values() : undefined;
    } catch (error) {
      if (isSystemError(error, "ENOENT", "ENOTDIR") || isCniError(error)) return undefined;
      throw error;
    }
  }

  /** Succeeds if nothing is kept. */
  forget(containerId: string): void {
    try {
      this.#files.unlink(this.#path(containerId));
    } catch (error) {
      if (!isSystemError(error, "ENOENT", "ENOTDIR")) throw error;
    }
  }

  /** Returns the ids of containers with a kept configuration. */
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
