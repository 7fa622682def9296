/**
 * Watches a file that another process may change while weftd runs. The other process may write it in place, replace it,
 * or, as Kubernetes does with a ConfigMap, change a symbolic link in its directory.
 */
import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../pkg/cluster/clock.ts";

/** Waits until the writer of the file is done. */
const SETTLE_MS = 100;

/** Covers changes without a notification: a replaced directory, a file system without inotify events. */
const LOOK_MS = 60_000;

export class WatchedFile {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #watcher: FSWatcher | undefined;
  #cancelSettle: (() => void) | undefined;
  #cancelLook: () => void = () => undefined;

  /** Calls `onChange` when the file may have changed. The caller reads the file to find out. */
  constructor(path: string, clock: Clock, onChange: () => void) {
    this.#clock = clock;
    this.#onChange = onChange;
    this.#watcher = watchFolder(dirname(path), () => this.#settle());
    this.#look();
  }

  close(): void {
    this.#watcher?.close();
    this.#cancelSettle?.();
    this.#cancelLook();
  }

  #settle(): void {
    this.#cancelSettle ??= this.#clock.setTimer(SETTLE_MS, () => {
      this.#cancelSettle = undefined;
      this.#onChange();
    });
  }

  #look(): void {
    this.#cancelLook = this.#clock.setTimer(LOOK_MS, () => {
      this.#look();
      this.#onChange();
    });
  }
}

/** Undefined if the kernel has no inotify watch available. The periodic check then finds changes. */
function watchFolder(folder: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onEvent);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
