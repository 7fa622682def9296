/**
 * The implementation of `System` for the executables, on the C host (pkg/sys/host), which provides its functions as the
 * global object `weftHost`.
 */
import { SystemError } from "./errors.ts";
import type {
  FileLock,
  FileStatus,
  NetlinkSocket,
  NetworkNamespace,
  StreamSocket,
  System,
  UdpProbe,
} from "./system.ts";

/** The functions of the C host. Each throws the failure factory's error if a system call fails. */
interface Host {
  readonly version: string;
  readonly buildId: string;
  readonly commit: string;
  readonly pluginNames: readonly string[];
  provide(name: string, run: () => number): void;
  setFailureFactory(make: (call: string, subject: string, errno: number) => Error): void;
  arguments(): string[];
  environment(): Record<string, string>;
  executablePath(): string;
  readInput(): Uint8Array;
  write(fd: number, data: Uint8Array): void;
  randomBytes(length: number): Uint8Array;
  sleep(ms: number): void;
  now(): number;
  terminalColumns(fd: number): number;
  execute(
    path: string,
    words: readonly string[],
    environment: readonly string[],
    input: Uint8Array,
  ): [number, Uint8Array, Uint8Array];
  readFile(path: string): Uint8Array;
  writeFile(path: string, data: Uint8Array, mode: number, flags: number): void;
  readDirectory(path: string): string[];
  makeDirectory(path: string, mode: number): void;
  link(from: string, to: string): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  status(path: string): FileStatus | undefined;
  setModified(path: string, modifiedMs: number): void;
  sync(path: string): void;
  setMode(path: string, mode: number): void;
  readLink(path: string): string | undefined;
  removeDirectory(path: string): void;
  lockFile(path: string, mode: number, wait: boolean): number;
  lockDirectory(path: string, wait: boolean): number;
  close(fd: number): void;
  openNamespace(path: string): [number, string];
  inNamespace<T>(fd: number, work: () => T): T;
  openNetlink(protocol: number, namespaceFd: number): number;
  netlinkSend(fd: number, datagram: Uint8Array): void;
  netlinkReceive(fd: number, timeoutMs: number): Uint8Array;
  isSocketAlive(path: string): boolean;
  connectUnix(path: string, timeoutMs: number): number;
  streamSend(fd: number, data: Uint8Array): void;
  streamReceive(fd: number, timeoutMs: number): Uint8Array;
  createTap(name: string, multiQueue: boolean, owner: number, group: number): void;
  /** If `from` is empty, the kernel chooses the source. */
  probeUdp(
    questions: readonly (readonly [to: Uint8Array, from: Uint8Array, port: number, bytes: number, isWhole: number])[],
    timeoutMs: number,
  ): [errno: number, microseconds: number][];
  connectTcp(address: Uint8Array, port: number, timeoutMs: number): number;
  room(path: string): [bytes: number, freeBytes: number, inodes: number, freeInodes: number];
}

declare const weftHost: Host;

weftHost.setFailureFactory((call, subject, errno) => new SystemError(call, subject, errno));

const WRITE_EXCLUSIVE = 1;
const WRITE_EXISTING = 2;
const OWN_NAMESPACE = "/proc/self/ns/net";
const EBADF = 9;
const UNIX_PATIENCE_MS = 4000;

/** A descriptor that is closed only once, because its number may already be reused. */
class Descriptor {
  readonly #number: number;
  readonly #subject: string;
  #isOpen = true;
  constructor(number: number, subject: string) {
    this.#number = number;
    this.#subject = subject;
  }
  /** Throws EBADF after close. */
  get number(): number {
    if (!this.#isOpen) throw new SystemError("use after close", this.#subject, EBADF);
    return this.#number;
  }
  close(): void {
    if (this.#isOpen) weftHost.close(this.#number);
    this.#isOpen = false;
  }
}

class Namespace implements NetworkNamespace {
  readonly path: string;
  readonly identity: string;
  readonly #descriptor: Descriptor;
  constructor(path: string) {
    const [fd, identity] = weftHost.openNamespace(path);
    this.path = path;
    this.identity = identity;
    this.#descriptor = new Descriptor(fd, path);
  }
  get fd(): number {
    return this.#descriptor.number;
  }
  close(): void {
    this.#descriptor.close();
  }
}

class Socket implements NetlinkSocket {
  readonly #descriptor: Descriptor;
  constructor(fd: number) {
    this.#descriptor = new Descriptor(fd, "netlink");
  }
  send(datagram: Uint8Array): void {
    weftHost.netlinkSend(this.#descriptor.number, datagram);
  }
  receive(timeoutMs: number): Uint8Array {
    return weftHost.netlinkReceive(this.#descriptor.number, timeoutMs);
  }
  close(): void {
    this.#descriptor.close();
  }
}

class Stream implements StreamSocket {
  readonly #descriptor: Descriptor;
  constructor(fd: number, subject: string) {
    this.#descriptor = new Descriptor(fd, subject);
  }
  send(data: Uint8Array): void {
    weftHost.streamSend(this.#descriptor.number, data);
  }
  receive(timeoutMs: number): Uint8Array {
    return weftHost.streamReceive(this.#descriptor.number, timeoutMs);
  }
  close(): void {
    this.#descriptor.close();
  }
}

function lockOf(fd: number, path: string): FileLock | undefined {
  if (fd < 0) return undefined;
  const descriptor = new Descriptor(fd, path);
  return { release: () => descriptor.close() };
}

let environment: Record<string, string> | undefined;

export const quickjs: System = {
  get args() {
    return weftHost.arguments();
  },
  get environment() {
    environment ??= weftHost.environment();
    return environment;
  },
  get executablePath() {
    return weftHost.executablePath();
  },
  readInput: weftHost.readInput,
  writeOutput: (data) => weftHost.write(1, data),
  writeErrorOutput: (data) => weftHost.write(2, data),
  randomBytes: weftHost.randomBytes,
  sleep: weftHost.sleep,
  now: weftHost.now,
  terminalColumns(stream) {
    const columns = weftHost.terminalColumns(stream === "output" ? 1 : 2);
    return columns < 0 ? undefined : columns;
  },
  sync: weftHost.sync,
  setMode: weftHost.setMode,
  readLink: weftHost.readLink,
  removeDirectory: weftHost.removeDirectory,
  readFile: weftHost.readFile,
  writeFile(path, data, options = {}) {
    const flags = (options.exclusive === true ? WRITE_EXCLUSIVE : 0) | (options.existing === true ? WRITE_EXISTING : 0);
    weftHost.writeFile(path, data, options.mode ?? 0o666, flags);
  },
  readDirectory: weftHost.readDirectory,
  makeDirectory: (path, mode = 0o777) => weftHost.makeDirectory(path, mode),
  link: weftHost.link,
  rename: weftHost.rename,
  unlink: weftHost.unlink,
  status: weftHost.status,
  setModified: weftHost.setModified,
  lockFile: (path, { mode = 0o600, wait = true } = {}) => lockOf(weftHost.lockFile(path, mode, wait), path),
  lockDirectory: (path, { wait = true } = {}) => lockOf(weftHost.lockDirectory(path, wait), path),
  isSocketAlive: weftHost.isSocketAlive,
  connectUnix: (path, timeoutMs = UNIX_PATIENCE_MS) => new Stream(weftHost.connectUnix(path, timeoutMs), path),
  connectTcp: (address, port, timeoutMs) =>
    new Stream(weftHost.connectTcp(address, port, timeoutMs), `TCP port ${port}`),
  probeUdp: (probes, timeoutMs) =>
    weftHost
      .probeUdp(probes.map(question), timeoutMs)
      .map(([errno, microseconds]) => ({ errno, afterMs: microseconds / 1000 })),
  room(path) {
    const [bytes, freeBytes, inodes, freeInodes] = weftHost.room(path);
    return { bytes, freeBytes, inodes, freeInodes };
  },
  openNamespace: (path = OWN_NAMESPACE) => new Namespace(path),
  openNetlink: (protocol, namespace) => new Socket(weftHost.openNetlink(protocol, namespace?.fd ?? -1)),
  inNamespace: (namespace, work) => weftHost.inNamespace(namespace.fd, work),
  createTap: (name, { multiQueue, owner, group }) => weftHost.createTap(name, multiQueue, owner ?? -1, group ?? -1),
  execute(path, options) {
    const entries = Object.entries(options.environment).map(([name, value]) => `${name}=${value}`);
    const [status, output, errorOutput] = weftHost.execute(
      path,
      [path, ...(options.args ?? [])],
      entries,
      options.input,
    );
    return { status, output, errorOutput };
  },
};

function question({ to, from = new Uint8Array(), port, bytes, isWhole }: UdpProbe) {
  return [to, from, port, bytes, isWhole ? 1 : 0] as const;
}

/** Registers `run` for calls of the executable by `name`; its result is the exit status. */
export function provide(name: string, run: () => number): void {
  weftHost.provide(name, run);
}

/** The build of this executable. */
export const build = {
  version: weftHost.version,
  /** Equal for equal content. */
  id: weftHost.buildId,
  /** The commit of the sources; empty if they were not in a repository. */
  commit: weftHost.commit,
  /** The names of its plugins. */
  pluginNames: weftHost.pluginNames,
};
