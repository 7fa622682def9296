/**
 * Ensures one weftd per run directory, and shows the executables that it is alive: `<runDir>/weftd.sock` accepts
 * connections (and closes them at once) exactly while this process lives.
 *
 * A socket file outlives a killed process, and replacing a stale one (connect, unlink, bind) is a race between two
 * daemons that start at the same time. So weftd first claims the directory by an abstract socket: the kernel lets one
 * process bind the name and frees it when that process ends for any reason. Only the process that has bound the name
 * touches the file.
 */

import { mkdir, rm, stat } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { SOCKET_FILE } from "../../pkg/footprint.ts";

/** Another weftd served this run directory for the entire waiting time. */
export class RunDirInUse extends Error {
  constructor(runDir: string, waitedMs: number) {
    super(
      `run directory ${runDir}: another weftd still serves it after ${Math.round(waitedMs / 1000)} seconds; ` +
        "stop that weftd, or give this one another --run-dir",
    );
    this.name = "RunDirInUse";
  }
}

export interface Liveness {
  /** Removes the sign of life. */
  close(): Promise<void>;
}

export interface ClaimOptions {
  /**
   * How long to wait for the predecessor to end. A rolling update may start the new pod before the old one has ended.
   */
  readonly waitMs: number;
  /** Ends the waiting: `claimRunDir` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called once if a predecessor is running. */
  readonly onWait: () => void;
}

const RETRY_MS = 200;

/** Claims the run directory; creates it if it is missing. Throws `RunDirInUse`. */
export async function claimRunDir(runDir: string, options: ClaimOptions): Promise<Liveness> {
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  // Device and inode identify the directory itself, so two mounts of it are one claim.
  const { dev, ino } = await stat(runDir);
  const path = join(runDir, SOCKET_FILE);
  const startMs = performance.now();
  for (let attempt = 0; ; attempt++) {
    // Not a lock: Node.js has no flock.
    const claim = await listen(`\0weftd/${dev}:${ino}`);
    // Abstract names are local to the network namespace. A weftd of another namespace is visible only by its file.
    if (claim !== undefined && !(await accepts(path))) {
      await rm(path, { force: true });
      const sign = await listen(path);
      if (sign !== undefined) return { close: async () => void (await Promise.all([closed(sign), closed(claim)])) };
    }
    if (claim !== undefined) await closed(claim);
    const waitedMs = performance.now() - startMs;
    if (waitedMs >= options.waitMs) throw new RunDirInUse(runDir, waitedMs);
    if (attempt === 0) options.onWait();
    await setTimeout(RETRY_MS, undefined, { signal: options.signal });
  }
}

/**
 * Shows an additional sign of life in a run directory that this process has claimed: the socket `name` accepts
 * connections until it is closed or this process ends.
 */
export async function showSign(runDir: string, name: string): Promise<Liveness> {
  const path = join(runDir, name);
  await rm(path, { force: true });
  const sign = await listen(path);
  if (sign === undefined) throw new Error(`listen on ${path}: another process has created it in the meantime`);
  return { close: () => closed(sign) };
}

/** Undefined if the name is in use. */
function listen(path: string): Promise<net.Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(new Error(`listen on ${path.replace("\0", "@")}: ${error.message}`, { cause: error }));
    });
    server.listen(path, () => resolve(server));
  });
}

/** True if a process accepts connections on the socket at `path`. */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function closed(server: net.Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
