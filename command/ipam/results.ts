/**
 * What container runtimes remember of attachments: libcni writes the result of each ADD into a file, and removes it after
 * DEL: `<cache>/results/<network>-<container>-<interface>`, JSON with `netns` since libcni 1.2.
 */

import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { namesIn } from "../node/networks.ts";
import { isNowhere, pathBelow, rootOf, type View } from "../node/views.ts";

/** libcni's default, and that of its versions before 0.8. */
export const CACHE_DIRECTORIES = ["/var/lib/cni/results", "/var/lib/cni/cache/results"];

export interface CachedResult {
  readonly path: string;
  /** Of the container; `undefined` where the file does not say. */
  readonly netns: string | undefined;
  /** True where it says, and nothing is there for any process of this node. */
  readonly isNetnsGone: boolean;
}

export interface RememberedAttachment {
  readonly network: string;
  readonly containerId: string;
  /** `undefined`: whichever of the container. */
  readonly ifName: string | undefined;
}

export interface CachePlaces {
  /** As the runtime sees them: looked for in each of `views`. */
  readonly directories: readonly string[];
  /** As this process sees it. */
  readonly own: string | undefined;
  readonly views: readonly View[];
}

export class CachedResults {
  readonly #system: System;
  readonly #views: readonly View[];
  /** File name -> paths. */
  readonly #paths = new Map<string, string[]>();

  constructor(system: System, { directories, own, views }: CachePlaces) {
    this.#system = system;
    this.#views = views;
    const roots = new Set(["", ...views.map(rootOf)]);
    const seen = [...roots].flatMap((root) => directories.map((directory) => pathBelow(root, directory, system)));
    const known = new Set<string>();
    for (const directory of own === undefined ? seen : [own, ...seen]) {
      const status = system.status(directory);
      const identity = `${status?.device}:${status?.inode}`;
      if (status === undefined || known.has(identity)) continue;
      known.add(identity);
      for (const name of namesIn(system, directory)) {
        this.#paths.set(name, [...(this.#paths.get(name) ?? []), `${directory}/${name}`]);
      }
    }
  }

  /** `undefined` where the runtime has no result of it. Of several, one whose namespace may be there. */
  find({ network, containerId, ifName }: RememberedAttachment): CachedResult | undefined {
    const start = `${network}-${containerId}-`;
    const names =
      ifName === undefined ? [...this.#paths.keys()].filter((each) => each.startsWith(start)) : [start + ifName];
    const results = names.flatMap((name) => this.#paths.get(name) ?? []).map((path) => this.#read(path));
    return results.find(({ isNetnsGone }) => !isNetnsGone) ?? results[0];
  }

  #read(path: string): CachedResult {
    const netns = this.#netnsOf(path);
    return { path, netns, isNetnsGone: netns !== undefined && isNowhere(netns, this.#views, this.#system) };
  }

  #netnsOf(path: string): string | undefined {
    try {
      const result: unknown = JSON.parse(new TextDecoder().decode(this.#system.readFile(path)));
      const { netns } = (typeof result === "object" && result !== null ? result : {}) as { netns?: unknown };
      return typeof netns === "string" && netns !== "" ? netns : undefined;
    } catch (error) {
      // Torn, just removed, or no file: it says nothing about a namespace.
      if (error instanceof SyntaxError || isSystemError(error, "ENOENT", "EISDIR")) return undefined;
      throw error;
    }
  }
}
