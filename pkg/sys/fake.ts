/**
 * A `System` in memory, for unit tests. Files behave as on Linux (`fake-files.ts`). Programs, namespaces and netlink
 * answers come from tables that the test provides. Random bytes and the clock are the same in every run.
 */

import { DEFAULT_CNI_BIN_DIR, EXECUTABLE } from "../footprint.ts";
import { SystemError } from "./errors.ts";
import { FakeFiles } from "./fake-files.ts";
import {
  type NetlinkPeer,
  type NetlinkScript,
  type StreamScript,
  scriptedNetlink,
  scriptedStream,
} from "./fake-sockets.ts";
import type {
  ExecuteOptions,
  ExecuteResult,
  FileLock,
  FileStatus,
  NetlinkSocket,
  NetworkNamespace,
  Room,
  StreamSocket,
  System,
  TapOptions,
  UdpProbe,
  UdpProbeReply,
  WriteOptions,
} from "./system.ts";

const ENOENT = 2;
const EBADF = 9;
const EACCES = 13;
const EINVAL = 22;
const EBUSY = 16;
/** IFNAMSIZ without the NUL (linux/if.h). */
const LONGEST_DEVICE_NAME = 15;
const ETIMEDOUT = 110;
const ECONNREFUSED = 111;

/** A scripted executable. Omitted parts of the result are 0 or empty. */
export type Program = (options: ExecuteOptions) => Partial<ExecuteResult>;

export interface FakeOptions {
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly executablePath?: string;
  /** Standard input. */
  readonly input?: string | Uint8Array;
  /** Shared to simulate several processes on one machine. */
  readonly files?: FakeFiles;
  /** Network namespaces: path -> identity. Two paths with one identity are the same namespace. */
  readonly namespaces?: Readonly<Record<string, string>>;
  readonly programs?: Readonly<Record<string, Program>>;
  readonly netlink?: NetlinkScript;
  /** The terminal of standard output and standard error; none if omitted. */
  readonly terminal?: { readonly columns: number };
  /** The paths of Unix sockets that accept connections and never answer. */
  readonly liveSockets?: Iterable<string>;
  /** The paths of Unix sockets whose listener accepts no connections, with a full queue. */
  readonly fullSockets?: Iterable<string>;
  /** The Unix sockets that answer: path -> a new conversation. */
  readonly servers?: Readonly<Record<string, () => StreamScript>>;
  /** The TCP ports of 127.0.0.1 that answer. */
  readonly tcpServers?: Readonly<Record<number, () => StreamScript>>;
  /** The result of a datagram. If omitted, the node's own addresses refuse it and all other addresses are silent. */
  readonly answerProbe?: (probeUdp: UdpProbe) => UdpProbeReply;
  /** The free space by path; plenty if none is given. */
  readonly rooms?: Readonly<Record<string, Room>>;
}

/** The identity of the fake process's own namespace. */
export const OWN_NAMESPACE = "fake:own";

export class FakeSystem implements System {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly executablePath: string;
  readonly files: FakeFiles;
  /** The tap devices that were created, with the identity of their namespace. */
  readonly taps: { readonly name: string; readonly namespace: string; readonly options: TapOptions }[] = [];
  /** The programs that were started, in order. */
  readonly executed: { readonly path: string; readonly options: ExecuteOptions }[] = [];
  /** The number of open namespaces, sockets and locks: 0 if the code under test has closed everything. */
  openCount = 0;

  readonly #input: Uint8Array;
  readonly #namespaces: Readonly<Record<string, string>>;
  readonly #programs: Readonly<Record<string, Program>>;
  readonly #netlink: NetlinkScript;
  readonly #liveSockets: ReadonlySet<string>;
  readonly #fullSockets: ReadonlySet<string>;
  readonly #servers: Readonly<Record<string, () => StreamScript>>;
  readonly #tcpServers: Readonly<Record<number, () => StreamScript>>;
  readonly #answerProbe: (probeUdp: UdpProbe) => UdpProbeReply;
  readonly #rooms: Readonly<Record<string, Room>>;
  readonly #columns: number | undefined;
  #current = OWN_NAMESPACE;
  #lastFd = 99;
  #random = 0x2545f491;
  #output = "";
  #errorOutput = "";

  constructor(options: FakeOptions = {}) {
    this.executablePath = options.executablePath ?? `${DEFAULT_CNI_BIN_DIR}/${EXECUTABLE}`;
    this.args = options.args ?? [this.executablePath];
    this.environment = options.environment ?? {};
    this.files = options.files ?? new FakeFiles();
    this.#input = typeof options.input === "object" ? options.input : new TextEncoder().encode(options.input ?? "");
    this.#namespaces = options.namespaces ?? {};
    this.#programs = options.programs ?? {};
    this.#netlink = options.netlink ?? (() => []);
    this.#servers = options.servers ?? {};
    this.#tcpServers = options.tcpServers ?? {};
    this.#answerProbe =
      options.answerProbe ?? (({ to }) => ({ errno: isLoopback(to) ? ECONNREFUSED : ETIMEDOUT, afterMs: 0 }));
    this.#rooms = options.rooms ?? {};
    this.#columns = options.terminal?.columns;
    this.#fullSockets = new Set(options.fullSockets ?? []);
    this.#liveSockets = new Set([...(options.liveSockets ?? []), ...this.#fullSockets, ...Object.keys(this.#servers)]);
  }

  /** Everything written to standard output, as text. */
  get output(): string {
    return this.#output;
  }

  get errorOutput(): string {
    return this.#errorOutput;
  }

  readFile(path: string): Uint8Array {
    return this.files.readFile(this.#seen(path));
  }

  writeFile(path: string, data: Uint8Array, options?: WriteOptions): void {
    this.files.writeFile(this.#seen(path), data, options);
  }

  readDirectory(path: string): string[] {
    return this.files.readDirectory(this.#seen(path));
  }

  makeDirectory(path: string, mode?: number): void {
    this.files.makeDirectory(this.#seen(path), mode);
  }

  link(from: string, to: string): void {
    this.files.link(from, to);
  }

  rename(from: string, to: string): void {
    this.files.rename(from, to);
  }

  unlink(path: string): void {
    this.files.unlink(path);
  }

  status(path: string): FileStatus | undefined {
    return this.files.status(this.#seen(path));
  }

  setModified(path: string, modifiedMs: number): void {
    this.files.setModified(path, modifiedMs);
  }

  sync(path: string): void {
    this.files.sync(path);
  }

  setMode(path: string, mode: number): void {
    this.files.setMode(path, mode);
  }

  /** `undefined`, because `FakeFiles` has no symbolic links. */
  readLink(path: string): string | undefined {
    this.files.status(path);
    return undefined;
  }

  removeDirectory(path: string): void {
    this.files.removeDirectory(path);
  }

  readInput(): Uint8Array {
    return this.#input.slice();
  }

  writeOutput(data: Uint8Array): void {
    this.#output += new TextDecoder().decode(data);
  }

  writeErrorOutput(data: Uint8Array): void {
    this.#errorOutput += new TextDecoder().decode(data);
  }

  /** Pseudo-random (xorshift32), from a fixed seed. */
  randomBytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => {
      this.#random ^= this.#random << 13;
      this.#random ^= this.#random >>> 17;
      this.#random ^= this.#random << 5;
      return this.#random & 255;
    });
  }

  lockFile(path: string, options: { wait?: boolean; mode?: number } = {}): FileLock | undefined {
    return this.#locked(path, this.files.lock(path, options.mode), options.wait);
  }

  lockDirectory(path: string, options: { wait?: boolean } = {}): FileLock | undefined {
    return this.#locked(path, this.files.lockDirectory(path), options.wait);
  }

  #locked(path: string, lock: FileLock | undefined, wait = true): FileLock | undefined {
    if (lock === undefined) {
      if (!wait) return undefined;
      throw new Error(`the lock of ${path} is held, and this test cannot release it`);
    }
    this.openCount++;
    return { release: this.#once(() => lock.release()) };
  }

  isSocketAlive(path: string): boolean {
    return this.#liveSockets.has(path);
  }

  connectUnix(path: string, timeoutMs = 4000): StreamSocket {
    if (this.#fullSockets.has(path)) {
      this.files.nowMs += timeoutMs;
      throw new SystemError("connect", path, ETIMEDOUT);
    }
    if (!this.#liveSockets.has(path)) {
      const status = this.files.status(path);
      throw new SystemError("connect", path, status === undefined ? ENOENT : ECONNREFUSED);
    }
    return this.#conversation(path, this.#servers[path]?.() ?? (() => []));
  }

  connectTcp(address: Uint8Array, port: number, timeoutMs: number): StreamSocket {
    const server = isLoopback(address) ? this.#tcpServers[port] : undefined;
    if (server !== undefined) return this.#conversation(`TCP port ${port}`, server());
    this.files.nowMs += isLoopback(address) ? 0 : timeoutMs;
    throw new SystemError("connect", "a TCP connection", isLoopback(address) ? ECONNREFUSED : ETIMEDOUT);
  }

  probeUdp(probes: readonly UdpProbe[]): UdpProbeReply[] {
    return probes.map(this.#answerProbe);
  }

  room(path: string): Room {
    if (this.files.status(path) === undefined) throw new SystemError("statvfs", path, ENOENT);
    return this.#rooms[path] ?? { bytes: 1e9, freeBytes: 5e8, inodes: 1e6, freeInodes: 5e5 };
  }

  #conversation(path: string, answer: StreamScript): StreamSocket {
    this.openCount++;
    return scriptedStream(path, { answer, elapse: (ms) => this.sleep(ms), close: () => this.openCount-- });
  }

  openNamespace(path?: string): NetworkNamespace {
    const identity = path === undefined ? this.#current : this.#namespaces[path];
    if (path !== undefined && identity === undefined) {
      const exists = this.files.status(path) !== undefined;
      throw new SystemError("open", path, exists ? EINVAL : ENOENT);
    }
    this.openCount++;
    const fd = ++this.#lastFd;
    let isOpen = true;
    return {
      path: path ?? "/proc/self/ns/net",
      get fd() {
        if (!isOpen) throw new SystemError("use after close", this.path, EBADF);
        return fd;
      },
      identity: identity as string,
      close: this.#once(() => {
        isOpen = false;
      }),
    };
  }

  openNetlink(protocol: number, namespace?: NetworkNamespace): NetlinkSocket {
    if (namespace !== undefined) assertIsOpen(namespace);
    const peer: NetlinkPeer = { protocol, namespace: namespace?.identity ?? this.#current };
    this.openCount++;
    return scriptedNetlink(
      (datagram) => this.#netlink(datagram, peer),
      () => this.openCount--,
    );
  }

  inNamespace<T>(namespace: NetworkNamespace, work: () => T): T {
    assertIsOpen(namespace);
    const before = this.#current;
    this.#current = namespace.identity;
    try {
      return work();
    } finally {
      this.#current = before;
    }
  }

  createTap(name: string, options: TapOptions): void {
    if (name === "" || name.length > LONGEST_DEVICE_NAME) throw new SystemError("TUNSETIFF", name, EINVAL);
    const namespace = this.#current;
    if (this.taps.some((tap) => tap.name === name && tap.namespace === namespace)) {
      throw new SystemError("TUNSETIFF", name, EBUSY);
    }
    this.taps.push({ name, namespace, options });
  }

  execute(path: string, options: ExecuteOptions): ExecuteResult {
    const program = this.#programs[path];
    if (program === undefined) {
      throw new SystemError("execve", path, this.files.status(path) === undefined ? ENOENT : EACCES);
    }
    this.executed.push({ path, options });
    return { status: 0, output: new Uint8Array(), errorOutput: new Uint8Array(), ...program(options) };
  }

  /** Advances the clock without waiting. */
  sleep(ms: number): void {
    this.files.nowMs += ms;
  }

  now(): number {
    return this.files.nowMs;
  }

  terminalColumns(): number | undefined {
    return this.#columns;
  }

  /** /proc/sys/net shows the calling thread's namespace, so each namespace has its own files there. */
  #seen(path: string): string {
    const sysctl = "/proc/sys/net/";
    if (this.#current === OWN_NAMESPACE || !path.startsWith(sysctl)) return path;
    return `/proc/namespace/${this.#current}/sys/net/${path.slice(sysctl.length)}`;
  }

  #once(close: () => void): () => void {
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      this.openCount--;
      close();
    };
  }
}

/** 127.0.0.0/8 and ::1. */
function isLoopback(address: Uint8Array): boolean {
  return address.length === 4 ? address[0] === 127 : address.every((byte, at) => byte === (at === 15 ? 1 : 0));
}

/** Throws if the namespace is closed, as the kernel would: entering a namespace needs its descriptor. */
function assertIsOpen(namespace: NetworkNamespace): void {
  void namespace.fd;
}
