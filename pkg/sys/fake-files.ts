/**
 * A file system in memory that fails with Linux's errors for the calls of `Files`. It has directories, hard links,
 * modes (umask 022), inode numbers and file locks. It has no symbolic links, and it checks no permissions, as for root.
 */

import { SystemError } from "./errors.ts";
import type { FileLock, FileStatus, Files, WriteOptions } from "./system.ts";

const ENOENT = 2;
const EPERM = 1;
const EEXIST = 17;
const ENOTDIR = 20;
const EISDIR = 21;
const EINVAL = 22;
const ENAMETOOLONG = 36;
const ENOTEMPTY = 39;

const UMASK = 0o022;
const NAME_MAX = 255;
const DEVICE = 1;

interface File {
  readonly kind: "file";
  readonly inode: number;
  mode: number;
  modifiedMs: number;
  data: Uint8Array;
  isLocked: boolean;
}

interface Directory {
  readonly kind: "directory";
  readonly inode: number;
  mode: number;
  modifiedMs: number;
  isLocked: boolean;
  readonly entries: Map<string, File | Directory>;
}

/** The result of a path lookup: the parent directory, the name in it, and the existing node. */
interface Place {
  readonly parent: Directory;
  readonly name: string;
  readonly node: File | Directory | undefined;
}

/** Returns the errno with which `call` on `path` fails, or `undefined` to let it succeed. */
export type Fault = (call: string, path: string) => number | undefined;

export class FakeFiles implements Files {
  /** Milliseconds since the epoch; the modification time of written files. */
  nowMs = 1_700_000_000_000;
  /** Makes calls fail. It may also throw its own error, to simulate a process that dies at that point. */
  fault: Fault | undefined;

  #lastInode = 1;
  readonly #root: Directory = this.#newDirectory(0o755);

  readFile(path: string): Uint8Array {
    const file = this.#existing("open", path);
    if (file.kind === "directory") throw new SystemError("read", path, EISDIR);
    return file.data.slice();
  }

  writeFile(path: string, data: Uint8Array, options: WriteOptions = {}): void {
    const { parent, name, node } = this.#place("open", path);
    if (node === undefined) {
      if (options.existing) throw new SystemError("open", path, ENOENT);
      this.#enter(parent, name, this.#newFile(options.mode ?? 0o666, data));
      return;
    }
    if (options.exclusive) throw new SystemError("open", path, EEXIST);
    if (node.kind === "directory") throw new SystemError("open", path, EISDIR);
    node.data = data.slice();
    node.modifiedMs = this.nowMs;
  }

  readDirectory(path: string): string[] {
    const node = this.#existing("open", path);
    if (node.kind !== "directory") throw new SystemError("open", path, ENOTDIR);
    return [...node.entries.keys()];
  }

  makeDirectory(path: string, mode = 0o777): void {
    this.#check("mkdir", path);
    let directory = this.#root;
    const names = this.#names("mkdir", path);
    for (const [index, name] of names.entries()) {
      let next = directory.entries.get(name);
      if (next === undefined) {
        next = this.#newDirectory(mode);
        this.#enter(directory, name, next);
      }
      if (next.kind !== "directory")
        throw new SystemError("mkdir", path, index === names.length - 1 ? EEXIST : ENOTDIR);
      directory = next;
    }
  }

  link(from: string, to: string): void {
    namingBoth(from, to, () => this.#link(from, to));
  }

  #link(from: string, to: string): void {
    const source = this.#existing("link", from);
    const target = this.#place("link", to);
    if (target.node !== undefined) throw new SystemError("link", to, EEXIST);
    if (source.kind === "directory") throw new SystemError("link", from, EPERM);
    this.#enter(target.parent, target.name, source);
  }

  rename(from: string, to: string): void {
    namingBoth(from, to, () => this.#rename(from, to));
  }

  #rename(from: string, to: string): void {
    const source = this.#place("rename", from);
    const target = this.#place("rename", to);
    const moved = source.node;
    if (moved === undefined) throw new SystemError("rename", from, ENOENT);
    if (moved === target.node) return; // Two names of one file: rename(2) leaves both.
    if (moved.kind === "directory") {
      if (target.node?.kind === "file") throw new SystemError("rename", to, ENOTDIR);
      if (target.node !== undefined && target.node.entries.size > 0) throw new SystemError("rename", to, ENOTEMPTY);
      if (isWithin(moved, target.parent)) throw new SystemError("rename", to, EINVAL);
    } else if (target.node?.kind === "directory") {
      throw new SystemError("rename", to, EISDIR);
    }
    source.parent.entries.delete(source.name);
    source.parent.modifiedMs = this.nowMs;
    this.#enter(target.parent, target.name, moved);
  }

  unlink(path: string): void {
    const { parent, name, node } = this.#place("unlink", path);
    if (node === undefined) throw new SystemError("unlink", path, ENOENT);
    if (node.kind === "directory") throw new SystemError("unlink", path, EISDIR);
    parent.entries.delete(name);
    parent.modifiedMs = this.nowMs;
  }

  status(path: string): FileStatus | undefined {
    let node: File | Directory;
    try {
      node = this.#existing("stat", path);
    } catch (error) {
      if (error instanceof SystemError && (error.errno === ENOENT || error.errno === ENOTDIR)) return undefined;
      throw error;
    }
    const { kind, inode, mode, modifiedMs } = node;
    return { kind, device: DEVICE, inode, mode, modifiedMs, sizeBytes: sizeOf(node) };
  }

  setModified(path: string, modifiedMs: number): void {
    this.#existing("utimensat", path).modifiedMs = modifiedMs;
  }

  /** Files exist only in memory, so only a missing file can fail. */
  sync(path: string): void {
    this.#existing("fsync", path);
  }

  setMode(path: string, mode: number): void {
    this.#existing("chmod", path).mode = mode;
  }

  removeDirectory(path: string): void {
    const { parent, name, node } = this.#place("rmdir", path);
    if (node === undefined) throw new SystemError("rmdir", path, ENOENT);
    if (node.kind !== "directory") throw new SystemError("rmdir", path, ENOTDIR);
    if (node.entries.size > 0) throw new SystemError("rmdir", path, ENOTEMPTY);
    parent.entries.delete(name);
    parent.modifiedMs = this.nowMs;
  }

  /** `undefined` if the lock is held. The lock belongs to the file, not to its name: a renamed file stays locked. */
  lock(path: string, mode = 0o600): FileLock | undefined {
    const { parent, name, node } = this.#place("open", path);
    if (node?.kind === "directory") throw new SystemError("open", path, EISDIR);
    const file = node ?? this.#newFile(mode, new Uint8Array());
    if (node === undefined) this.#enter(parent, name, file);
    return lockOf(file);
  }

  lockDirectory(path: string): FileLock | undefined {
    const directory = this.#existing("open", path);
    if (directory.kind !== "directory") throw new SystemError("open", path, ENOTDIR);
    return lockOf(directory);
  }

  /** The path and the text content of every file, sorted, for comparisons in tests. */
  snapshot(): Record<string, string> {
    const found: [string, string][] = [];
    const walk = (directory: Directory, path: string): void => {
      for (const [name, node] of directory.entries) {
        if (node.kind === "directory") walk(node, `${path}/${name}`);
        else found.push([`${path}/${name}`, new TextDecoder().decode(node.data)]);
      }
    };
    walk(this.#root, "");
    return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #check(call: string, path: string): void {
    const errno = this.fault?.(call, path);
    if (errno !== undefined) throw new SystemError(call, path, errno);
  }

  /** The path components from the root; relative paths also start at the root. */
  #names(call: string, path: string): string[] {
    if (path === "") throw new SystemError(call, path, ENOENT);
    if (path.includes("\0")) throw new SystemError(call, path, EINVAL);
    const names: string[] = [];
    for (const name of path.split("/")) {
      if (new TextEncoder().encode(name).length > NAME_MAX) throw new SystemError(call, path, ENAMETOOLONG);
      if (name === "..") names.pop();
      else if (name !== "" && name !== ".") names.push(name);
    }
    return names;
  }

  #place(call: string, path: string): Place {
    this.#check(call, path);
    const names = this.#names(call, path);
    const name = names.pop();
    // The root has no parent. It is its own entry, which no call creates or removes.
    if (name === undefined) return { parent: this.#root, name: ".", node: this.#root };
    let parent = this.#root;
    for (const step of names) {
      const next = parent.entries.get(step);
      if (next === undefined) throw new SystemError(call, path, ENOENT);
      if (next.kind !== "directory") throw new SystemError(call, path, ENOTDIR);
      parent = next;
    }
    return { parent, name, node: parent.entries.get(name) };
  }

  #existing(call: string, path: string): File | Directory {
    const { node } = this.#place(call, path);
    if (node === undefined) throw new SystemError(call, path, ENOENT);
    return node;
  }

  #enter(parent: Directory, name: string, node: File | Directory): void {
    parent.entries.set(name, node);
    parent.modifiedMs = this.nowMs;
  }

  #newFile(mode: number, data: Uint8Array): File {
    const inode = ++this.#lastInode;
    return { kind: "file", inode, mode: mode & ~UMASK, modifiedMs: this.nowMs, data: data.slice(), isLocked: false };
  }

  #newDirectory(mode: number): Directory {
    const inode = ++this.#lastInode;
    const entries = new Map();
    return { kind: "directory", inode, mode: mode & ~UMASK, modifiedMs: this.nowMs, isLocked: false, entries };
  }
}

function lockOf(node: File | Directory): FileLock | undefined {
  if (node.isLocked) return undefined;
  node.isLocked = true;
  let isHeld = true;
  return {
    release() {
      if (isHeld) node.isLocked = false;
      isHeld = false;
    },
  };
}

/** The error of a call with two paths contains both paths. */
function namingBoth(from: string, to: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new SystemError(error.call, `${from} -> ${to}`, error.errno);
  }
}

/** True if `inner` is `outer` or below it. */
function isWithin(outer: Directory, inner: Directory): boolean {
  if (outer === inner) return true;
  return [...outer.entries.values()].some((node) => node.kind === "directory" && isWithin(node, inner));
}

/** A directory has blocks of entries, as on ext4: 8 bytes and the name, padded to 4 bytes. */
function sizeOf(node: File | Directory): number {
  if (node.kind === "file") return node.data.length;
  const entries = [...node.entries.keys()].reduce((sum, name) => sum + 8 + 4 * Math.ceil(name.length / 4), 0);
  return BLOCK * Math.max(1, Math.ceil(entries / BLOCK));
}

const BLOCK = 4096;
