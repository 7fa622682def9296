/** Every network namespace of this node that has a name or a process, and the addresses in each. */

import { formatAddress } from "../../pkg/ip/address.ts";
import { addressDump, parseLinkAddress } from "../../pkg/kernel/address.ts";
import { linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** PROC_PID_INIT_INO (include/linux/proc_ns.h): the process ids of the machine itself. */
const INITIAL_PID_NAMESPACE = "pid:[4026531836]";

/** An address on an interface, somewhere on this node. */
export interface HeldAddress {
  /** As `formatAddress` spells it. */
  readonly address: string;
  readonly ifName: string;
  /** A path that leads to the namespace. */
  readonly namespace: string;
}

export interface Namespaces {
  /** How many were looked at. */
  readonly count: number;
  /**
   * False where there may be others: in a container that sees its own processes alone, and for a caller who may not look
   * at every process.
   */
  readonly isComplete: boolean;
  readonly addresses: readonly HeldAddress[];
}

/** Throws `SystemError` and `NetlinkError`; a namespace that goes away meanwhile is none. */
export function readNamespaces(system: System): Namespaces {
  const { paths, isComplete } = findNamespaces(system);
  const addresses = [...paths.values()].flatMap((path) => orGone([], () => addressesIn(system, path)));
  return { count: paths.size, isComplete, addresses };
}

/** `paths`: identity ("net:[4026531840]") -> a path. */
function findNamespaces(system: System): { paths: ReadonlyMap<string, string>; isComplete: boolean } {
  const paths = new Map<string, string>();
  const seenMounts = new Set<string>();
  let isComplete = system.readLink("/proc/self/ns/pid") === INITIAL_PID_NAMESPACE;
  for (const pid of system.readDirectory("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    try {
      orGone(undefined, () => lookAtProcess(pid, paths, seenMounts, system));
    } catch (error) {
      if (!isSystemError(error, "EACCES", "EPERM")) throw error;
      // Some machines hide their first process: it is in the machine's own namespace, as is everybody who was not moved.
      if (pid !== "1") isComplete = false;
    }
  }
  return { paths, isComplete };
}

/** The namespace that a process is in, and those that are mounted where it sees them. */
function lookAtProcess(pid: string, paths: Map<string, string>, seenMounts: Set<string>, system: System): void {
  const own = system.readLink(`/proc/${pid}/ns/net`);
  if (own !== undefined && !paths.has(own)) paths.set(own, `/proc/${pid}/ns/net`);
  const mounts = system.readLink(`/proc/${pid}/ns/mnt`);
  if (mounts === undefined || seenMounts.has(mounts)) return;
  const mountInfo = new TextDecoder().decode(system.readFile(`/proc/${pid}/mountinfo`));
  for (const { identity, path } of parseMountedNamespaces(mountInfo)) {
    // Named ones are what an operator knows them by.
    if (paths.get(identity)?.startsWith("/run/") !== true) paths.set(identity, `${rootOf(pid, system)}${path}`);
  }
  seenMounts.add(mounts);
}

/** Where the mounts of a process's own mount namespace are seen; "" for this process's. */
function rootOf(pid: string, system: System): string {
  const isOwn = system.readLink(`/proc/${pid}/ns/mnt`) === system.readLink("/proc/self/ns/mnt");
  return isOwn ? "" : `/proc/${pid}/root`;
}

/** Of proc_pid_mountinfo(5): "36 35 0:4 net:[4026532281] /run/netns/a rw shared:1 - nsfs nsfs rw". */
export function parseMountedNamespaces(mountInfo: string): { identity: string; path: string }[] {
  return mountInfo.split("\n").flatMap((line) => {
    const [, , , identity = "", path = ""] = line.split(" ");
    if (!identity.startsWith("net:[")) return [];
    return [
      {
        identity,
        path: path.replace(/\\([0-7]{3})/g, (_all, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
      },
    ];
  });
}

function addressesIn(system: System, path: string): HeldAddress[] {
  const namespace = system.openNamespace(path);
  try {
    const netlink = openRoute(system, namespace);
    try {
      const names = new Map(
        netlink
          .dump(linkDump())
          .map(parseLink)
          .map(({ index, name }) => [index, name]),
      );
      return netlink.dump(addressDump()).flatMap((message) => {
        const held = parseLinkAddress(message);
        if (held === undefined) return [];
        return [{ address: formatAddress(held.prefix.address), ifName: names.get(held.index) ?? "?", namespace: path }];
      });
    } finally {
      netlink.close();
    }
  } finally {
    namespace.close();
  }
}

/** A process may end, and a name be taken away, between two looks (EINVAL: a mount point without its namespace). */
function orGone<T>(gone: T, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ESRCH", "EINVAL", "ENOTDIR")) return gone;
    throw error;
  }
}
