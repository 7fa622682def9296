/**
 * One weftd per run directory, and a sign of life for the executables: `<runDir>/weftd.sock`, which accepts connections
 * (and closes them at once) exactly as long as this process lives.
 *
 * A socket file outlives a killed process, and taking over a stale one (connect, unlink, bind) is a race between two
 * daemons that start together. So the directory is claimed by an abstract socket first: the kernel lets one process bind
 * the name and frees it when that process ends, however it ends. Only its holder touches the file.
 */

import { mkdir, rm, stat } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { SOCKET_FILE } from "../../pkg/footprint.ts";

/** Another weftd serves this run directory, and did so for as long as this one was willing to wait. */
export class RunDirInUse extends Error {
  constructor(runDir: string, waitedMs: number) {
    super(
      `run directory ${runDir}: another weftd still serves it after ${Math.round(waitedMs / 1000)} seconds; ` +
        "stop that one, or give this one a --run-dir of its own",
    );
    this.name = "RunDirInUse";
  }
}

export interface Liveness {
  /** Takes the sign of life away. */
  close(): Promise<void>;
}

export interface ClaimOptions {
  /** How long to wait for a predecessor to go: a rolling update may start the new pod before the old one is gone. */
  readonly waitMs: number;
  /** Ends the waiting: `claimRunDir` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called once, when there is a predecessor to wait for. */
  readonly onWait: () => void;
}

const RETRY_MS = 200;

/** Makes the run directory where it is missing. Throws `RunDirInUse`. */
export async function claimRunDir(runDir: string, options: ClaimOptions): Promise<Liveness> {
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  // Device and inode name the directory itself: two mounts of it are one claim.
  const { dev, ino } = await stat(runDir);
  const path = join(runDir, SOCKET_FILE);
  const startMs = performance.now();
  for (let attempt = 0; ; attempt++) {
    // Not a lock: Node.js has no flock.
    const claim = await listen(`\0weftd/${dev}:${ino}`);
    // Abstract names end at the network namespace; a weftd of another namespace is seen by its file alone.
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
 * A further sign of life in a run directory that this process has claimed: `name` accepts connections until it is closed, or
 * until this process ends.
 */
export async function showSign(runDir: string, name: string): Promise<Liveness> {
  const path = join(runDir, name);
  await rm(path, { force: true });
  const sign = await listen(path);
  if (sign === undefined) throw new Error(`listen on ${path}: another process has made it meanwhile`);
  return { close: () => closed(sign) };
}

/** Undefined when the name is taken. */
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

/** True when a process accepts connections on the socket at `path`. */
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
