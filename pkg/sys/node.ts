/**
 * The implementation of `Files` for the daemon, on Node.js. Node.js has no file locks, namespaces or blocking sockets;
 * the daemon does not need them.
 */
import {
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { SystemError } from "./errors.ts";
import type { FileStatus, Files } from "./system.ts";

const EINVAL = 22;

/** Runs a call and converts Node's error to a `SystemError`. */
function call<T>(name: string, subject: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { errno, code } = error as { errno?: number; code?: string };
    // A path with a zero byte, which Node.js rejects itself.
    if (code === "ERR_INVALID_ARG_VALUE") throw new SystemError(name, subject, EINVAL);
    if (errno === undefined) throw error;
    throw new SystemError((error as { syscall?: string }).syscall ?? name, subject, -errno);
  }
}

export const nodeFiles: Files = {
  readFile(path) {
    const flag = constants.O_RDONLY | constants.O_NONBLOCK;
    return call("read", path, () => new Uint8Array(readFileSync(path, { flag })));
  },
  writeFile(path, data, options = {}) {
    const { O_WRONLY, O_TRUNC, O_CREAT, O_EXCL } = constants;
    const flags =
      O_WRONLY | O_TRUNC | (options.existing === true ? 0 : O_CREAT) | (options.exclusive === true ? O_EXCL : 0);
    const fd = call("open", path, () => openSync(path, flags, options.mode ?? 0o666));
    try {
      for (let at = 0; at < data.length; ) at += call("write", path, () => writeSync(fd, data, at));
    } finally {
      call("close", path, () => closeSync(fd));
    }
  },
  readDirectory: (path) => call("opendir", path, () => readdirSync(path)),
  makeDirectory(path, mode = 0o777) {
    call("mkdir", path, () => mkdirSync(path, { recursive: true, mode }));
  },
  link: (from, to) => call("link", `${from} -> ${to}`, () => linkSync(from, to)),
  rename: (from, to) => call("rename", `${from} -> ${to}`, () => renameSync(from, to)),
  unlink: (path) => call("unlink", path, () => unlinkSync(path)),
  setModified: (path, modifiedMs) =>
    call("utimensat", path, () => utimesSync(path, Date.now() / 1e3, modifiedMs / 1e3)),
  status(path): FileStatus | undefined {
    let status: ReturnType<typeof statSync>;
    try {
      status = statSync(path);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      return call("stat", path, () => {
        throw error;
      });
    }
    const kind = status.isFile() ? "file" : status.isDirectory() ? "directory" : status.isSocket() ? "socket" : "other";
    return {
      kind,
      device: status.dev,
      inode: status.ino,
      sizeBytes: status.size,
      mode: status.mode & 0o7777,
      modifiedMs: status.mtimeMs,
    };
  },
};
