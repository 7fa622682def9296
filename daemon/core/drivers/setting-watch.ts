/**
 * Hears when somebody writes a kernel setting of which netlink tells nothing (br_netfilter's, accept_ra). What the kernel
 * changes by itself, or somebody through another mount of proc, is found by the next comparison.
 */
import { type FSWatcher, watch } from "node:fs";
import type { Files } from "../../../pkg/sys/system.ts";

export class SettingWatch {
  readonly #files: Pick<Files, "status">;
  readonly #locate: (path: string) => string;
  readonly #onChange: () => void;
  readonly #watchers = new Map<string, { readonly inode: number; readonly watcher: FSWatcher }>();

  /** `locate` tells where the file is that is known by a path of /proc/sys. */
  constructor(files: Pick<Files, "status">, locate: (path: string) => string, onChange: () => void) {
    this.#files = files;
    this.#locate = locate;
    this.#onChange = onChange;
  }

  /** Exactly these files from now on. A device that is made anew has its settings in others of the same names. */
  follow(names: readonly string[]): void {
    const paths = names.map(this.#locate);
    for (const path of this.#watchers.keys()) if (!paths.includes(path)) this.#forget(path);
    for (const path of paths) {
      const inode = this.#files.status(path)?.inode;
      if (this.#watchers.get(path)?.inode === inode) continue;
      this.#forget(path);
      if (inode !== undefined) this.#watch(path, inode);
    }
  }

  close(): void {
    this.follow([]);
  }

  /** Where the kernel has no watch to give, the clock has to do. */
  #watch(path: string, inode: number): void {
    try {
      // inotify works in /proc/sys for what is written through the same mount of proc. Netlink announces only forwarding.
      const watcher = watch(path, { persistent: false }, () => this.#onChange());
      watcher.on("error", () => this.#forget(path));
      this.#watchers.set(path, { inode, watcher });
    } catch {
      return;
    }
  }

  #forget(path: string): void {
    this.#watchers.get(path)?.watcher.close();
    this.#watchers.delete(path);
  }
}
