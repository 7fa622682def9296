/**
 * Watches kernel settings whose changes netlink does not announce (br_netfilter's, accept_ra). Changes that the kernel
 * makes itself, or that arrive through another mount of proc, are found by the next comparison.
 */
import { type FSWatcher, watch } from "node:fs";
import type { Files } from "../../../pkg/sys/system.ts";

export class SettingWatch {
  readonly #files: Pick<Files, "status">;
  readonly #locate: (path: string) => string;
  readonly #onChange: () => void;
  readonly #watchers = new Map<string, { readonly inode: number; readonly watcher: FSWatcher }>();

  /** `locate` maps a path of /proc/sys to the file's actual location. */
  constructor(files: Pick<Files, "status">, locate: (path: string) => string, onChange: () => void) {
    this.#files = files;
    this.#locate = locate;
    this.#onChange = onChange;
  }

  /** Sets the files to watch. If a device is re-created, its settings are new files of the same names. */
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

  /** Does nothing if the kernel has no inotify watch available. The periodic comparison then finds changes. */
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
