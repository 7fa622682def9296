/** Every network namespace of this node that has a name or a process, and the addresses and aliases in each. */

import { formatAddress } from "../../pkg/ip/address.ts";
import { addressDump, parseLinkAddress } from "../../pkg/kernel/address.ts";
import { linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { NetworkNamespace, System } from "../../pkg/sys/system.ts";
import { rootOf, type View } from "./views.ts";

/** PROC_PID_INIT_INO (include/linux/proc_ns.h): the process ids of the machine itself. */
const INITIAL_PID_NAMESPACE = "pid:[4026531836]";

/** True where this process sees all processes of the machine, as none does in a container. */
export function isOnMachine(system: System): boolean {
  return system.readLink("/proc/self/ns/pid") === INITIAL_PID_NAMESPACE;
}

/** On a machine where namespaces and processes come and go. */
const MOST_LOOKS = 5;
const PAUSE_MS = 20;

/** An address on an interface, somewhere on this node. */
export interface HeldAddress {
  /** As `formatAddress` spells it. */
  readonly address: string;
  readonly ifName: string;
  /** A path that leads to the namespace. */
  readonly namespace: string;
}

/** A link's alias, where it has one. */
export interface HeldAlias {
  readonly alias: string;
  readonly ifName: string;
  /** A path that leads to the namespace. */
  readonly namespace: string;
}

/**
 * Why there may be namespaces that were not looked into. `container`: the processes of a container alone are seen.
 * `process`: this one may not be looked at. `rights`: it may not be entered, for want of CAP_SYS_ADMIN. `namespace`: it is there, and no path leads to it, as where something is
 * mounted over its name.
 */
export type Obstacle =
  | { readonly kind: "container" }
  | { readonly kind: "process"; readonly pid: string }
  | { readonly kind: "rights"; readonly path: string }
  | { readonly kind: "namespace"; readonly identity: string; readonly path: string };

export interface Namespaces {
  /** How many were looked at. */
  readonly count: number;
  /** `undefined` where all were looked into. */
  readonly obstacle: Obstacle | undefined;
  readonly addresses: readonly HeldAddress[];
  readonly aliases: readonly HeldAlias[];
  /** One for each mount namespace and root that processes have. */
  readonly views: readonly View[];
}

type Held = Pick<Namespaces, "addresses" | "aliases">;

/** Throws `SystemError` and `NetlinkError`; a namespace that goes away meanwhile is none. */
export function readNamespaces(system: System): Namespaces {
  const found = new Search(system).run();
  const held: Held[] = [];
  const reader = new Reader(system);
  let { paths } = found;
  let missed = [...paths.keys()];
  for (let look = 1; missed.length > 0 && look <= MOST_LOOKS; look++) {
    // Their paths may have led through processes that have ended, or they go away just now.
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

/** One for each mount namespace and root that processes have now. Throws `SystemError`. */
export function findViews(system: System): readonly View[] {
  return new Search(system).run().views;
}

interface Found {
  /** Identity ("net:[4026531840]") -> paths that may lead there, names before processes. */
  readonly paths: ReadonlyMap<string, readonly string[]>;
  readonly views: readonly View[];
  readonly obstacle: Obstacle | undefined;
}

/** One walk through /proc. */
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
        // Some machines hide their first process: it is in the machine's own namespace, as is everybody who was not moved.
        if (pid !== "1") obstacle ??= { kind: "process", pid };
      }
    }
    const identities = new Set([...this.#names.keys(), ...this.#processes.keys()]);
    const pathsOf = (identity: string) => [
      // What an operator knows it by comes first.
      ...(this.#names.get(identity) ?? []).sort((one, other) => Number(isFar(one)) - Number(isFar(other))),
      ...(this.#processes.get(identity) ?? []),
    ];
    return {
      paths: new Map([...identities].map((identity) => [identity, pathsOf(identity)])),
      views: [...this.#views.values()],
      obstacle,
    };
  }

  /** The namespace that a process is in, and those that are mounted where it sees them. */
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

  /** Equal for processes that see the same files: mountinfo, too, is told from a process's root. */
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

/** Seen through another process. */
function isFar(path: string): boolean {
  return path.startsWith("/proc/");
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

/** Looks into namespaces. */
class Reader {
  readonly #system: System;
  /** Of the namespace that this process is in. */
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

  /** Through the first of `paths` that leads to this very namespace; `undefined` where none does. */
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

  /** Its own a process may look at without the right to enter others (setns(2) asks for it even there). */
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

/** The number between the brackets is the inode's, on the one nsfs there is. */
function isNamed(namespace: NetworkNamespace, identity: string): boolean {
  return `net:[${namespace.identity.split(":").at(-1)}]` === identity;
}

/** Closes `netlink`. */
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

/** A process may end, and a name be taken away, between two looks (EINVAL: a mount point without its namespace). */
function isGone(error: unknown): boolean {
  return isSystemError(error, "ENOENT", "ESRCH", "EINVAL", "ENOTDIR");
}
