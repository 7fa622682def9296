/** Reads every network namespace of this node that has a name or a process, with its addresses and link aliases. */

import { formatAddress } from "../../pkg/ip/address.ts";
import { addressDump, parseLinkAddress } from "../../pkg/kernel/address.ts";
import { linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { NetworkNamespace, System } from "../../pkg/sys/system.ts";
import { rootOf, type View } from "./views.ts";

/** PROC_PID_INIT_INO (include/linux/proc_ns.h): the process ids of the machine itself. */
const INITIAL_PID_NAMESPACE = "pid:[4026531836]";

/** True if this process sees all processes of the machine. False in a container. */
export function isOnMachine(system: System): boolean {
  return system.readLink("/proc/self/ns/pid") === INITIAL_PID_NAMESPACE;
}

/** The maximum of attempts, since namespaces and processes may appear and end at any time. */
const MOST_LOOKS = 5;
const PAUSE_MS = 20;

/** An address of an interface in any network namespace of the node. */
export interface HeldAddress {
  /** In the format of `formatAddress`. */
  readonly address: string;
  readonly ifName: string;
  /** A path to the namespace. */
  readonly namespace: string;
}

/** The alias of a link. */
export interface HeldAlias {
  readonly alias: string;
  readonly ifName: string;
  /** A path to the namespace. */
  readonly namespace: string;
}

/**
 * The reason why some namespaces may not have been read.
 *
 * - `container`: only the processes of a container are visible.
 * - `process`: the process may not be inspected.
 * - `rights`: the namespace may not be entered without CAP_SYS_ADMIN.
 * - `namespace`: the namespace exists, but no path leads to it, for example since something is mounted over its name.
 */
export type Obstacle =
  | { readonly kind: "container" }
  | { readonly kind: "process"; readonly pid: string }
  | { readonly kind: "rights"; readonly path: string }
  | { readonly kind: "namespace"; readonly identity: string; readonly path: string };

export interface Namespaces {
  /** The number of namespaces that were read. */
  readonly count: number;
  /** Undefined if all namespaces were read. */
  readonly obstacle: Obstacle | undefined;
  readonly addresses: readonly HeldAddress[];
  readonly aliases: readonly HeldAlias[];
  /** One view for each mount namespace and root of the node's processes. */
  readonly views: readonly View[];
}

type Held = Pick<Namespaces, "addresses" | "aliases">;

/** Throws `SystemError` and `NetlinkError`. Ignores namespaces that are removed meanwhile. */
export function readNamespaces(system: System): Namespaces {
  const found = new Search(system).run();
  const held: Held[] = [];
  const reader = new Reader(system);
  let { paths } = found;
  let missed = [...paths.keys()];
  for (let look = 1; missed.length > 0 && look <= MOST_LOOKS; look++) {
    // Their paths may lead through processes that have ended, or the namespaces are being removed.
    if (look > 1) {
      system.sleep(PAUSE_MS);
      paths = new Search(system).run().paths;
    }
    missed = missed.filter((identity) => {
      const inside = reader.readFirst(identity, paths.get(identity) ?? []);
      if (inside !== undefined) held.push(inside);
      return inside === undefined && paths.has(identity);
    });
  }
  const [identity = ""] = missed;
  const path = paths.get(identity)?.[0];
  const hidden = path === undefined ? undefined : { kind: "namespace" as const, identity, path };
  const obstacle = found.obstacle ?? reader.obstacle ?? hidden;
  return {
    count: held.length,
    obstacle,
    addresses: held.flatMap(({ addresses }) => addresses),
    aliases: held.flatMap(({ aliases }) => aliases),
    views: found.views,
  };
}

/** Returns one view for each mount namespace and root of the processes that run now. Throws `SystemError`. */
export function findViews(system: System): readonly View[] {
  return new Search(system).run().views;
}

interface Found {
  /** Identity ("net:[4026531840]") -> paths that may lead to it, names before processes. */
  readonly paths: ReadonlyMap<string, readonly string[]>;
  readonly views: readonly View[];
  readonly obstacle: Obstacle | undefined;
}

/** One pass over /proc. */
class Search {
  readonly #system: System;
  readonly #names = new Map<string, string[]>();
  readonly #processes = new Map<string, string[]>();
  /** By mount namespace and root. */
  readonly #views = new Map<string, View & { pids: string[] }>();
  readonly #read = new Set<string>();
  readonly #own: string;

  constructor(system: System) {
    this.#system = system;
    this.#own = this.#viewOf("self") ?? "";
  }

  run(): Found {
    let obstacle: Obstacle | undefined = isOnMachine(this.#system) ? undefined : { kind: "container" };
    for (const pid of this.#system.readDirectory("/proc").filter((name) => /^[0-9]+$/.test(name))) {
      try {
        this.#lookAt(pid);
      } catch (error) {
        if (isGone(error)) continue;
        if (!isSystemError(error, "EACCES", "EPERM")) throw error;
        // Some machines hide their first process. It is in the machine's own namespace, as are all processes that were
        // not moved.
        if (pid !== "1") obstacle ??= { kind: "process", pid };
      }
    }
    const identities = new Set([...this.#names.keys(), ...this.#processes.keys()]);
    const pathsOf = (identity: string) => [
      // Names that an operator knows come first.
      ...(this.#names.get(identity) ?? []).sort((one, other) => Number(isFar(one)) - Number(isFar(other))),
      ...(this.#processes.get(identity) ?? []),
    ];
    return {
      paths: new Map([...identities].map((identity) => [identity, pathsOf(identity)])),
      views: [...this.#views.values()],
      obstacle,
    };
  }

  /** Records the namespace of a process, and the namespaces that are mounted where the process sees them. */
  #lookAt(pid: string): void {
    const network = this.#system.readLink(`/proc/${pid}/ns/net`);
    if (network !== undefined) add(this.#processes, network, `/proc/${pid}/ns/net`);
    const mounts = this.#system.readLink(`/proc/${pid}/ns/mnt`);
    const key = this.#viewOf(pid);
    if (mounts === undefined || key === undefined) return;
    const view = this.#views.get(key) ?? { isOwn: key === this.#own, mounts, pids: [] };
    view.pids.push(pid);
    this.#views.set(key, view);
    if (this.#read.has(key)) return;
    const mountInfo = new TextDecoder().decode(this.#system.readFile(`/proc/${pid}/mountinfo`));
    for (const { identity, path } of parseMountedNamespaces(mountInfo)) {
      add(this.#names, identity, `${rootOf({ ...view, pids: [pid] })}${path}`);
    }
    this.#read.add(key);
  }

  /** Equal for processes that see the same files. mountinfo is relative to a process's root, too. */
  #viewOf(pid: string): string | undefined {
    const mounts = this.#system.readLink(`/proc/${pid}/ns/mnt`);
    const root = this.#system.readLink(`/proc/${pid}/root`);
    return mounts === undefined || root === undefined ? undefined : `${mounts} ${root}`;
  }
}

function add(map: Map<string, string[]>, key: string, value: string): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

/** True for a path through another process. */
function isFar(path: string): boolean {
  return path.startsWith("/proc/");
}

/** Parses proc_pid_mountinfo(5): "36 35 0:4 net:[4026532281] /run/netns/a rw shared:1 - nsfs nsfs rw". */
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

/** Reads the content of namespaces. */
class Reader {
  readonly #system: System;
  /** The identity of this process's own namespace. */
  readonly #own: string;
  #obstacle: Obstacle | undefined;

  constructor(system: System) {
    this.#system = system;
    const own = system.openNamespace();
    own.close();
    this.#own = own.identity;
  }

  /** The first namespace that may not be entered. */
  get obstacle(): Obstacle | undefined {
    return this.#obstacle;
  }

  /** Reads the namespace through the first of `paths` that leads to it. Undefined if none does. */
  readFirst(identity: string, paths: readonly string[]): Held | undefined {
    for (const path of paths) {
      const namespace = openIfThere(path, this.#system);
      if (namespace === undefined) continue;
      try {
        if (isNamed(namespace, identity)) return this.#read(namespace);
      } finally {
        namespace.close();
      }
    }
    return undefined;
  }

  /**
   * A process may read its own namespace without the right to enter others. setns(2) would require the right even for
   * it.
   */
  #read(namespace: NetworkNamespace): Held {
    try {
      const isOwn = namespace.identity === this.#own;
      return readInside(namespace.path, openRoute(this.#system, isOwn ? undefined : namespace));
    } catch (error) {
      if (!isSystemError(error, "EPERM")) throw error;
      this.#obstacle ??= { kind: "rights", path: namespace.path };
      return { addresses: [], aliases: [] };
    }
  }
}

function openIfThere(path: string, system: System): NetworkNamespace | undefined {
  try {
    return system.openNamespace(path);
  } catch (error) {
    if (isSystemError(error)) return undefined;
    throw error;
  }
}

/** Compares the inode number in the brackets. There is only one nsfs. */
function isNamed(namespace: NetworkNamespace, identity: string): boolean {
  return `net:[${namespace.identity.split(":").at(-1)}]` === identity;
}

/** Reads addresses and aliases. Closes `netlink`. */
function readInside(path: string, netlink: BlockingNetlink): Held {
  try {
    const links = netlink.dump(linkDump()).map(parseLink);
    const names = new Map(links.map(({ index, name }) => [index, name]));
    return {
      aliases: links.flatMap(({ alias, name }) => (alias === "" ? [] : [{ alias, ifName: name, namespace: path }])),
      addresses: netlink.dump(addressDump()).flatMap((message) => {
        const held = parseLinkAddress(message);
        if (held === undefined) return [];
        return [{ address: formatAddress(held.prefix.address), ifName: names.get(held.index) ?? "?", namespace: path }];
      }),
    };
  } finally {
    netlink.close();
  }
}

/** A process may end, or a name be removed, between two reads (EINVAL: a mount point whose namespace is gone). */
function isGone(error: unknown): boolean {
  return isSystemError(error, "ENOENT", "ESRCH", "EINVAL", "ENOTDIR");
}
