/**
 * A file that somebody may change while weftd runs: written in place, replaced by another, or, as Kubernetes does with a
 * ConfigMap, put there by a link of its folder that leads elsewhere from one moment to the next.
 */
import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../pkg/cluster/clock.ts";

/** A file that is being written is looked at when its writer is done. */
const SETTLE_MS = 100;

/** For changes that nothing tells of: a folder that was replaced, a file system without notifications. */
const LOOK_MS = 60_000;

export class WatchedFile {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #watcher: FSWatcher | undefined;
  #cancelSettle: (() => void) | undefined;
  #cancelLook: () => void = () => undefined;

  /** `onChange` is called when the file may have changed; whoever reads it sees whether it has. */
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

/** Undefined where the kernel has no watch to give: the clock has to do then. */
function watchFolder(folder: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onEvent);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
