/**
 * Files as the processes of this node see them: in another mount namespace, or below another root, a path leads elsewhere,
 * or nowhere.
 */

import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Processes that share a mount namespace and a root. */
export interface View {
  /** True for those that see what this process sees. */
  readonly isOwn: boolean;
  /** "mnt:[4026531841]". */
  readonly mounts: string;
  readonly pids: readonly string[];
}

/** MAXSYMLINKS (include/linux/namei.h). */
const MOST_LINKS = 40;
/** On a machine where processes come and go. */
const MOST_LOOKS = 5;

/** Where `view` sees its "/"; "" for what this process sees itself. */
export function rootOf({ isOwn, pids: [pid] }: View): string {
  return isOwn ? "" : `/proc/${pid}/root`;
}

/**
 * Where `path` of a process whose root is seen at `root` is found. The kernel would follow symbolic links with absolute
 * targets (/var/run, on most machines) from this process's own root; but those of /proc only the kernel can follow.
 */
export function pathBelow(root: string, path: string, system: System): string {
  if (root === "") return path;
  let left = path.split("/");
  let done: string[] = [];
  let links = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      done.pop();
      continue;
    }
    done.push(name);
    const target = done[0] === "proc" || links === MOST_LINKS ? undefined : system.readLink([root, ...done].join("/"));
    if (target === undefined) continue;
    links += 1;
    done = target.startsWith("/") ? [] : done.slice(0, -1);
    left = [...target.split("/"), ...left];
  }
  return [root, ...done].join("/");
}

/**
 * True where nothing is at `path` for any process of this node; in doubt something is. `views` may have been found a while
 * ago; `findAgain` finds those of the processes that are there now. Throws `SystemError`.
 */
export function isNowhere(
  path: string,
  views: readonly View[],
  findAgain: () => readonly View[],
  system: System,
): boolean {
  if (system.status(path) !== undefined) return false;
  for (let look = 1; look <= MOST_LOOKS; look++) {
    const others = (look === 1 ? views : findAgain()).filter(({ isOwn }) => !isOwn);
    const seen = others.map((view) => lookFrom(view, path, system));
    if (seen.includes("there")) return false;
    if (!seen.includes("ended")) return true;
  }
  return false;
}

/** `ended`: all of its processes have, so that their roots lead nowhere; others may have come. */
function lookFrom({ mounts, pids }: View, path: string, system: System): "there" | "absent" | "ended" {
  for (const pid of pids) {
    const isThere = elsewhere(true, () => system.status(pathBelow(`/proc/${pid}/root`, path, system)) !== undefined);
    const isAlive = elsewhere(false, () => system.readLink(`/proc/${pid}/ns/mnt`) === mounts);
    if (isAlive) return isThere ? "there" : "absent";
  }
  return "ended";
}

/** `closed` where another's files may not be looked at: some are their user's alone (FUSE), or on a disk that is gone. */
export function elsewhere<T>(closed: T, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (isSystemError(error)) return closed;
    throw error;
  }
}
