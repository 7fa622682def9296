/** Finds the runtime's cached results of attachments, wherever on the node they are. */
import { cachedNetns, cachedResultName } from "../../pkg/cni/cached-result.ts";
import type { System } from "../../pkg/sys/system.ts";
import { findViews } from "../node/namespaces.ts";
import { namesIn } from "../node/networks.ts";
import { elsewhere, isNowhere, pathBelow, rootOf, type View } from "../node/views.ts";

export interface CachedResult {
  readonly path: string;
  /** The container's namespace. Undefined if the file does not name one. */
  readonly netns: string | undefined;
  /** True if the file names a namespace that exists for no process of this node. */
  readonly isNetnsGone: boolean;
}

export interface RememberedAttachment {
  readonly network: string;
  readonly containerId: string;
  /** Undefined for any interface of the container. */
  readonly ifName: string | undefined;
}

export interface CachePlaces {
  /** Directories as the runtime sees them. They are searched in each of `views`. */
  readonly directories: readonly string[];
  /** A directory as this process sees it. */
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
    const known = new Set<string>();
    for (const directory of own === undefined ? directories : [own, ...directories]) this.#add(directory, known);
    // A caller that may read a runtime's namespaces may read its files, too.
    for (const root of views.filter(({ isOwn }) => !isOwn).map(rootOf)) {
      for (const path of directories) elsewhere(undefined, () => this.#add(pathBelow(root, path, system), known));
    }
  }

  /** Adds a directory. `known` has the directories added before, by device and inode. */
  #add(directory: string, known: Set<string>): void {
    const status = this.#system.status(directory);
    const identity = `${status?.device}:${status?.inode}`;
    if (status === undefined || known.has(identity)) return;
    known.add(identity);
    for (const name of namesIn(this.#system, directory)) {
      this.#paths.set(name, [...(this.#paths.get(name) ?? []), `${directory}/${name}`]);
    }
  }

  /** Returns the paths of all files. */
  paths(): string[] {
    return [...this.#paths.values()].flat();
  }

  /**
   * Undefined if the runtime has no result of the attachment. If there are several, prefers one whose namespace may
   * exist.
   */
  find({ network, containerId, ifName }: RememberedAttachment): CachedResult | undefined {
    const start = cachedResultName(network, containerId, "");
    const names =
      ifName === undefined ? [...this.#paths.keys()].filter((each) => each.startsWith(start)) : [start + ifName];
    const results = names.flatMap((name) => this.#paths.get(name) ?? []).map((path) => this.#read(path));
    return results.find(({ isNetnsGone }) => !isNetnsGone) ?? results[0];
  }

  #read(path: string): CachedResult {
    const netns = cachedNetns(this.#system, path);
    const isGone = (name: string) => isNowhere(name, this.#views, () => findViews(this.#system), this.#system);
    return { path, netns, isNetnsGone: netns !== undefined && isGone(netns) };
  }
}
