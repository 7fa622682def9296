/**
 * The only access to the operating system for code that runs synchronously: the executables, and the parts of the
 * daemon that use files. There are two real implementations (`quickjs.ts` on the C host, `node.ts` on Node.js) and a
 * fake (`fake.ts`). `test/contract` checks that all three behave alike.
 *
 * Bytes are `Uint8Array`; paths and names are strings in UTF-8. Every failure is a `SystemError`.
 */

/** The result of `stat(2)`, reduced to the fields that weft compares. */
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

/** A file lock, held until it is released or the process ends (`flock(2)`, exclusive). */
export interface FileLock {
  release(): void;
}

/** Files as the kernel sees them. All calls follow symbolic links, like the system calls with the same names. */
export interface Files {
  /**
   * Throws `SystemError` ENOENT if the file does not exist. Never blocks: a FIFO without a writer reads as empty
   * (O_NONBLOCK).
   */
  readFile(path: string): Uint8Array;
  /**
   * Creates or truncates the file. With `exclusive` it fails with EEXIST if the file exists (O_EXCL). With `existing`
   * it fails with ENOENT if the file does not exist (no O_CREAT; for sysctl files). `mode` is subject to the umask.
   */
  writeFile(path: string, data: Uint8Array, options?: WriteOptions): void;
  /** The names without "." and "..", in any order. */
  readDirectory(path: string): string[];
  /** Also creates missing parents; succeeds if the directory exists. */
  makeDirectory(path: string, mode?: number): void;
  /**
   * Makes a hard link. Fails with EEXIST if `to` exists, which makes it the only atomic way to create a file with
   * content.
   */
  link(from: string, to: string): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  /** `undefined` if there is nothing at the path (ENOENT, ENOTDIR). */
  status(path: string): FileStatus | undefined;
  /** Sets the modification time of a file or directory. The file system determines the precision. */
  setModified(path: string, modifiedMs: number): void;
}

export interface WriteOptions {
  readonly mode?: number;
  readonly exclusive?: boolean;
  readonly existing?: boolean;
}

/** A network namespace that a descriptor keeps open. */
export interface NetworkNamespace {
  readonly path: string;
  /** The descriptor for IFLA_NET_NS_FD. Valid until `close`. */
  readonly fd: number;
  /** `st_dev:st_ino` of the nsfs file: two paths lead to the same namespace if and only if these are equal. */
  readonly identity: string;
  close(): void;
}

/** A blocking netlink socket, bound, with NETLINK_EXT_ACK, NETLINK_CAP_ACK and (for rtnetlink) strict checking. */
export interface NetlinkSocket {
  send(datagram: Uint8Array): void;
  /** Receives one complete datagram. Throws `SystemError` ETIMEDOUT if none arrives within `timeoutMs`. */
  receive(timeoutMs: number): Uint8Array;
  close(): void;
}

export interface TapOptions {
  /** Create several queues, so that several descriptors can be opened on the device (IFF_MULTI_QUEUE). */
  readonly multiQueue: boolean;
  /**
   * The numbers of the user and the group that may open the device; if absent, only processes with CAP_NET_ADMIN may.
   */
  readonly owner: number | undefined;
  readonly group: number | undefined;
}

/** A connection to a Unix stream socket. */
export interface StreamSocket {
  /** Sends all bytes. Fails with EPIPE if the peer has closed the connection. */
  send(data: Uint8Array): void;
  /**
   * Receives the available bytes, at least one; none at the end. Throws `SystemError` ETIMEDOUT if none arrive within
   * `timeoutMs`.
   */
  receive(timeoutMs: number): Uint8Array;
  close(): void;
}

/** A datagram to a UDP port without a listener. Addresses have 4 or 16 bytes. */
export interface UdpProbe {
  readonly to: Uint8Array;
  /** The source address; the kernel chooses it if absent. */
  readonly from: Uint8Array | undefined;
  readonly port: number;
  /** The length of the UDP payload, at most 65,507. */
  readonly bytes: number;
  /** Forbid fragmentation on the path (IP_PMTUDISC_PROBE), and ignore the path MTU that the kernel has learned. */
  readonly isWhole: boolean;
}

export interface UdpProbeReply {
  /**
   * ECONNREFUSED: the peer received the complete datagram. ETIMEDOUT: no answer. Otherwise the reason why it was not sent
   * or did not arrive.
   */
  readonly errno: number;
  /** The time from sending to the answer, in milliseconds with fractions; 0 without an answer. */
  readonly afterMs: number;
}

/** The space of a file system that is available to the calling user (`statvfs(3)`). */
export interface Room {
  readonly bytes: number;
  readonly freeBytes: number;
  /** 0 if the file system does not count them. */
  readonly inodes: number;
  readonly freeInodes: number;
}

export interface ExecuteOptions {
  /** The arguments after the program's own name; none if omitted. */
  readonly args?: readonly string[];
  /** The complete environment of the child; nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly input: Uint8Array;
}

export interface ExecuteResult {
  /** The exit status; 128 + signal number if a signal ended the child. */
  readonly status: number;
  readonly output: Uint8Array;
  readonly errorOutput: Uint8Array;
}

/** Everything that an executable may do outside its own process. */
export interface System extends Files {
  /** Writes the content of a file or directory to the disk (`fsync(2)`). */
  sync(path: string): void;
  /** Sets the permission bits, independently of the umask. */
  setMode(path: string, mode: number): void;
  /** Returns the target of the symbolic link at `path`; `undefined` if there is nothing or something else. */
  readLink(path: string): string | undefined;
  /** Removes an empty directory. Fails with ENOTEMPTY if it is not empty. */
  removeDirectory(path: string): void;
  /** The command line; `[0]` is the name of the call. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** The resolved path of the running executable (`/proc/self/exe`). */
  readonly executablePath: string;
  /** Reads all of standard input. */
  readInput(): Uint8Array;
  writeOutput(data: Uint8Array): void;
  writeErrorOutput(data: Uint8Array): void;
  /** Returns bytes from the kernel's random number generator (`getrandom(2)`). */
  randomBytes(length: number): Uint8Array;
  /**
   * Waits for the lock; with `wait: false` returns `undefined` if another process holds it. Creates the file if
   * necessary.
   */
  lockFile(path: string, options?: { readonly wait?: boolean; readonly mode?: number }): FileLock | undefined;
  /** The same for a directory, which must exist. */
  lockDirectory(path: string, options?: { readonly wait?: boolean }): FileLock | undefined;
  /** True if a process accepts connections on the Unix socket at `path`, so its owner is alive. */
  isSocketAlive(path: string): boolean;
  /**
   * Fails with ENOENT or ECONNREFUSED if no process listens, and with ETIMEDOUT after `timeoutMs` (default 4 s) if the
   * listener accepts no connections and its queue is full.
   */
  connectUnix(path: string, timeoutMs?: number): StreamSocket;
  /**
   * Connects to an address of 4 or 16 bytes. Fails with ETIMEDOUT after `timeoutMs`, and with ECONNREFUSED if no
   * process listens.
   */
  connectTcp(address: Uint8Array, port: number, timeoutMs: number): StreamSocket;
  /** Sends all probes at once, and waits at most `timeoutMs` for all answers. Never throws for a single probe. */
  probeUdp(probes: readonly UdpProbe[], timeoutMs: number): UdpProbeReply[];
  /** The space of the file system that contains `path`. */
  room(path: string): Room;
  /**
   * Opens a namespace. Fails with EINVAL if the path is not a network namespace (for example a plain file). Without a
   * path, opens the process's own.
   */
  openNamespace(path?: string): NetworkNamespace;
  /** Opens a socket in `namespace`; the process itself does not change its namespace. */
  openNetlink(protocol: number, namespace?: NetworkNamespace): NetlinkSocket;
  /** Runs `work` with the calling thread inside `namespace` (for /proc/sys/net), and always returns to its own. */
  inNamespace<T>(namespace: NetworkNamespace, work: () => T): T;
  /**
   * Creates a persistent tap device, down, in the calling thread's namespace (`inNamespace`); a failure leaves none.
   * Fails with EBUSY if the name is taken, and with ENOENT or ENODEV if the machine has no /dev/net/tun.
   */
  createTap(name: string, options: TapOptions): void;
  /** Runs a program and waits for its end. Throws `SystemError` if it cannot be started. */
  execute(path: string, options: ExecuteOptions): ExecuteResult;
  sleep(ms: number): void;
  /** The wall-clock time, in milliseconds since the epoch. */
  now(): number;
  /** The width of the terminal of a standard stream; `undefined` if it is not a terminal. */
  terminalColumns(stream: "output" | "errorOutput"): number | undefined;
}
