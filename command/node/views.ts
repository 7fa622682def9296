/**
 * Files as the processes of this node see them: in another mount namespace, or below another root, a path leads elsewhere,
 * or nowhere.
 */

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

/** True where nothing is at `path` for any process of this node; in doubt something is. Throws `SystemError`. */
export function isNowhere(path: string, views: readonly View[], system: System): boolean {
  if (system.status(path) !== undefined) return false;
  return views.every((view) => view.isOwn || view.pids.some((pid) => isSurelyAbsent(path, pid, view, system)));
}

/** False, too, where the process has ended: then its root leads nowhere. */
function isSurelyAbsent(path: string, pid: string, { mounts }: View, system: System): boolean {
  const isAbsent = system.status(pathBelow(`/proc/${pid}/root`, path, system)) === undefined;
  return isAbsent && system.readLink(`/proc/${pid}/ns/mnt`) === mounts;
}
