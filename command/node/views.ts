/**
 * Files as the processes of this node see them. In another mount namespace, or with another root, a path may lead
 * elsewhere or not exist.
 */

import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Processes that share a mount namespace and a root. */
export interface View {
  /** True if these processes see the same files as this process. */
  readonly isOwn: boolean;
  /** For example "mnt:[4026531841]". */
  readonly mounts: string;
  readonly pids: readonly string[];
}

/** MAXSYMLINKS (include/linux/namei.h). */
const MOST_LINKS = 40;
/** The maximum of attempts, since processes may start and end at any time. */
const MOST_LOOKS = 5;

/** The path of the view's "/". Empty for this process's own view. */
export function rootOf({ isOwn, pids: [pid] }: View): string {
  return isOwn ? "" : `/proc/${pid}/root`;
}

/**
 * Returns the path at which this process finds `path` of a process whose root is at `root`. The kernel would follow
 * absolute symbolic links (such as /var/run on most machines) from this process's own root, so they are resolved here.
 * Links of /proc are left to the kernel, which alone can follow them.
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
 * True if no process of this node sees anything at `path`. If in doubt, returns false. `views` may be old; `findAgain`
 * finds the views of the current processes. Throws `SystemError`.
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

/**
 * Reads `path` in a view. `ended`: all processes of the view have ended, so their roots lead nowhere, and new processes
 * may exist.
 */
function lookFrom({ mounts, pids }: View, path: string, system: System): "there" | "absent" | "ended" {
  for (const pid of pids) {
    const isThere = elsewhere(true, () => system.status(pathBelow(`/proc/${pid}/root`, path, system)) !== undefined);
    const isAlive = elsewhere(false, () => system.readLink(`/proc/${pid}/ns/mnt`) === mounts);
    if (isAlive) return isThere ? "there" : "absent";
  }
  return "ended";
}

/**
 * Returns `closed` if the file of another process may not be read: some are for their user only (FUSE), or on a disk
 * that is gone.
 */
export function elsewhere<T>(closed: T, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (isSystemError(error)) return closed;
    throw error;
  }
}
