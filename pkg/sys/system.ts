/**
 * The one door to the operating system for everything that runs synchronously: the executables, and the parts of
 * the daemon that touch files. Two real sides (`quickjs.ts` on the C host, `node.ts` on Node.js) and one fake
 * (`fake.ts`) implement it; `test/contract` holds all three to the same behaviour.
 *
 * Bytes are `Uint8Array`, paths and names are strings in UTF-8. Every failure is a `SystemError`.
 */

/** What `stat(2)` says, reduced to what weft compares. */
export interface FileStatus {
  readonly kind: "file" | "directory" | "symlink" | "socket" | "other";
  readonly device: number;
  readonly inode: number;
  readonly sizeBytes: number;
  /** Permission bits only (`st_mode & 0o7777`). */
  readonly mode: number;
  /** Modification time in milliseconds since the epoch, with fractions. */
  readonly modifiedMs: number;
}

/** A file lock, held until released or until the process ends (`flock(2)`, exclusive). */
export interface FileLock {
  release(): void;
}

/** Files, as the kernel sees them. All calls follow symbolic links, as the system calls of the same name do. */
export interface Files {
  /** Throws `SystemError` ENOENT when absent. Waits for nobody: a FIFO into which nobody writes is empty (O_NONBLOCK). */
  readFile(path: string): Uint8Array;
  /**
   * Creates or truncates; with `exclusive` it fails with EEXIST instead (O_EXCL), with `existing` it fails with
   * ENOENT where the file is absent (no O_CREAT: what sysctl files need). `mode` is subject to the umask.
   */
  writeFile(path: string, data: Uint8Array, options?: WriteOptions): void;
  /** Names without "." and "..", in no particular order. */
  readDirectory(path: string): string[];
  /** Makes missing parents too; silent when the directory exists. */
  makeDirectory(path: string, mode?: number): void;
  /** Hard link; EEXIST when `to` exists: the only atomic "create with content" there is. */
  link(from: string, to: string): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  /** `undefined` when nothing is there (ENOENT, ENOTDIR). */
  status(path: string): FileStatus | undefined;
  /** Sets the modification time of a file or directory; what it is kept to is the file system's affair. */
  setModified(path: string, modifiedMs: number): void;
}

export interface WriteOptions {
  readonly mode?: number;
  readonly exclusive?: boolean;
  readonly existing?: boolean;
}

/** A network namespace held open by a descriptor. */
export interface NetworkNamespace {
  readonly path: string;
  /** The descriptor that goes into IFLA_NET_NS_FD. Valid until `close`. */
  readonly fd: number;
  /** `st_dev:st_ino` of the nsfs file: equal for two paths exactly when they are the same namespace. */
  readonly identity: string;
  close(): void;
}

/** A blocking netlink socket, bound, with NETLINK_EXT_ACK, NETLINK_CAP_ACK and (rtnetlink) strict checking set. */
export interface NetlinkSocket {
  send(datagram: Uint8Array): void;
  /** One whole datagram, never truncated. Throws `SystemError` ETIMEDOUT after `timeoutMs` of silence. */
  receive(timeoutMs: number): Uint8Array;
  close(): void;
}

export interface TapOptions {
  /** More than one queue: several descriptors may be opened on the device (IFF_MULTI_QUEUE). */
  readonly multiQueue: boolean;
  /** The user and the group who may open it, by number; whoever has CAP_NET_ADMIN when absent. */
  readonly owner: number | undefined;
  readonly group: number | undefined;
}

/** A connection to a Unix stream socket. */
export interface StreamSocket {
  /** All of it. EPIPE once the other side is gone. */
  send(data: Uint8Array): void;
  /** What has come, at least one byte; none at the end. Throws `SystemError` ETIMEDOUT after `timeoutMs` of silence. */
  receive(timeoutMs: number): Uint8Array;
  close(): void;
}

/** A datagram to a UDP port where nobody listens. Addresses are 4 or 16 bytes. */
export interface UdpProbe {
  readonly to: Uint8Array;
  /** The source; the kernel's choice when absent. */
  readonly from: Uint8Array | undefined;
  readonly port: number;
  /** Of the UDP payload, at most 65,507. */
  readonly bytes: number;
  /** Nobody on the way may cut it (IP_PMTUDISC_PROBE), and what the kernel has learned of the path is not asked. */
  readonly isWhole: boolean;
}

export interface UdpProbeReply {
  /** ECONNREFUSED: the other side got all of it. ETIMEDOUT: silence. Else why it was not sent, or did not arrive. */
  readonly errno: number;
  /** From sending to the answer, in milliseconds with fractions; 0 without an answer. */
  readonly afterMs: number;
}

/** A file system's room, for whoever asks (`statvfs(3)`). */
export interface Room {
  readonly bytes: number;
  readonly freeBytes: number;
  /** 0 where the file system does not count them. */
  readonly inodes: number;
  readonly freeInodes: number;
}

export interface ExecuteOptions {
  /** Behind the program's own name; none when left out. */
  readonly args?: readonly string[];
  /** The whole environment of the child; nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly input: Uint8Array;
}

export interface ExecuteResult {
  /** Exit status; 128 + signal number when a signal ended the child. */
  readonly status: number;
  readonly output: Uint8Array;
  readonly errorOutput: Uint8Array;
}

/** Everything an executable may do to the outside world. */
export interface System extends Files {
  /** Has what `path`, a file or a directory, holds written to the disk (`fsync(2)`). */
  sync(path: string): void;
  /** Permission bits, whatever the umask is. */
  setMode(path: string, mode: number): void;
  /** Where the symbolic link at `path` itself leads; `undefined` when something else, or nothing, is there. */
  readLink(path: string): string | undefined;
  /** ENOTEMPTY unless it is empty. */
  removeDirectory(path: string): void;
  /** The command line; `[0]` is the name the executable was called by. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Resolved path of the running executable (`/proc/self/exe`). */
  readonly executablePath: string;
  /** All of standard input. */
  readInput(): Uint8Array;
  writeOutput(data: Uint8Array): void;
  writeErrorOutput(data: Uint8Array): void;
  /** From the kernel's random source (`getrandom(2)`). */
  randomBytes(length: number): Uint8Array;
  /** Waits for the lock; with `wait: false` returns `undefined` where another process holds it. Creates the file. */
  lockFile(path: string, options?: { readonly wait?: boolean; readonly mode?: number }): FileLock | undefined;
  /** The same for a directory, which has to be there. */
  lockDirectory(path: string, options?: { readonly wait?: boolean }): FileLock | undefined;
  /** True when a process accepts connections on the Unix socket at `path` (so its owner is alive). */
  isSocketAlive(path: string): boolean;
  /** ENOENT or ECONNREFUSED where nobody listens. */
  connectUnix(path: string): StreamSocket;
  /** To an address of 4 or 16 bytes; ETIMEDOUT after `timeoutMs`, ECONNREFUSED where nobody listens. */
  connectTcp(address: Uint8Array, port: number, timeoutMs: number): StreamSocket;
  /** Sends all of them at once and waits for the answers, together no longer than `timeoutMs`; never throws for a single one. */
  probeUdp(probes: readonly UdpProbe[], timeoutMs: number): UdpProbeReply[];
  /** Room on the file system of `path`. */
  room(path: string): Room;
  /** EINVAL when the path is not a network namespace (a plain file, say). Without a path: the process's own. */
  openNamespace(path?: string): NetworkNamespace;
  /** A socket that speaks to `namespace` for all its life; the process itself stays where it is. */
  openNetlink(protocol: number, namespace?: NetworkNamespace): NetlinkSocket;
  /** Runs `work` with the calling thread inside `namespace` (for /proc/sys/net), and always comes back. */
  inNamespace<T>(namespace: NetworkNamespace, work: () => T): T;
  /**
   * Makes a persistent tap device in the calling thread's namespace (`inNamespace`), down; a failure leaves none. EBUSY
   * when the name is taken, ENOENT or ENODEV where the machine has no /dev/net/tun.
   */
  createTap(name: string, options: TapOptions): void;
  /** Runs a program and waits; throws `SystemError` when it cannot be started. */
  execute(path: string, options: ExecuteOptions): ExecuteResult;
  sleep(ms: number): void;
  /** The wall clock, in milliseconds since the epoch. */
  now(): number;
  /** The width of the terminal that a standard stream leads to; `undefined` where it leads to none. */
  terminalColumns(stream: "output" | "errorOutput"): number | undefined;
}
