/**
 * What container runtimes remember of attachments: libcni writes the result of each ADD into a file, and removes it after
 * DEL: `<cache>/results/<network>-<container>-<interface>`, JSON with `netns` since libcni 1.2.
 */

import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { namesIn } from "../node/networks.ts";

/** libcni's default, and that of its versions before 0.8. */
export const CACHE_DIRECTORIES = ["/var/lib/cni/results", "/var/lib/cni/cache/results"];

export interface CachedResult {
  readonly path: string;
  /** Of the container; `undefined` where the file does not say. */
  readonly netns: string | undefined;
  /** True where it says, and nothing is there. */
  readonly isNetnsGone: boolean;
}

export interface RememberedAttachment {
  readonly network: string;
  readonly containerId: string;
  /** `undefined`: whichever of the container. */
  readonly ifName: string | undefined;
}

export class CachedResults {
  readonly #system: System;
  /** File name -> path. */
  readonly #paths: ReadonlyMap<string, string>;

  constructor(system: System, directories: readonly string[]) {
    this.#system = system;
    this.#paths = new Map(
      directories.flatMap((directory) =>
        namesIn(system, directory).map((name) => [name, `${directory}/${name}`] as const),
      ),
    );
  }

  /** `undefined` where the runtime has no result of it. */
  find({ network, containerId, ifName }: RememberedAttachment): CachedResult | undefined {
    const start = `${network}-${containerId}-`;
    const name = [...this.#paths.keys()].find((each) =>
      ifName === undefined ? each.startsWith(start) : each === start + ifName,
    );
    const path = name === undefined ? undefined : this.#paths.get(name);
    if (path === undefined) return undefined;
    const netns = this.#netnsOf(path);
    return { path, netns, isNetnsGone: netns !== undefined && this.#system.status(netns) === undefined };
  }

  #netnsOf(path: string): string | undefined {
    try {
      const { netns } = JSON.parse(new TextDecoder().decode(this.#system.readFile(path))) as { netns?: unknown };
      return typeof netns === "string" && netns !== "" ? netns : undefined;
    } catch (error) {
      // Torn, or just removed: it says nothing about a namespace.
      if (error instanceof SyntaxError || isSystemError(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}
