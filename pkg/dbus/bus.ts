/** A blocking client for method calls on the system's D-Bus, used by the executables. */
import { isSystemError } from "../sys/errors.ts";
import type { StreamSocket, System } from "../sys/system.ts";
import {
  DbusFormatError,
  type DbusValue,
  decodeMessage,
  encodeCall,
  MESSAGE_TYPE,
  type MethodCall,
  messageLength,
} from "./message.ts";

/** The bus daemon, which is also a service on the bus. */
const BUS = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const SYSTEM_BUS = "/run/dbus/system_bus_socket";
/** Timeout for a service's answer in milliseconds, as in D-Bus libraries. */
const ANSWER_MS = 25_000;
/** Timeout for all calls to the bus daemon together, in milliseconds. A bus daemon that works answers at once. */
const OPENING_MS = 4000;

/** The bus daemon does not work: it does not answer, refuses the connection, closes it, or does not speak D-Bus. */
export class BusError extends Error {
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`D-Bus at ${path} ${reason}`, options);
    this.name = "BusError";
  }
}

/** A service refused a call. `errorName` is the D-Bus name of the error. */
export class DbusError extends Error {
  readonly errorName: string;
  constructor(call: Call, errorName: string, text: string) {
    super(`${call.interface}.${call.member}(${call.body.join(", ")}): ${text === "" ? errorName : text}`);
    this.name = "DbusError";
    this.errorName = errorName;
  }
}

export type Call = Omit<MethodCall, "serial">;

export class Bus {
  readonly #system: System;
  readonly #socket: StreamSocket;
  readonly #path: string;
  /** The time until which calls to the bus daemon must be answered, in milliseconds. */
  readonly #openUntilMs: number;
  /** Set after a failure: later bytes might answer an earlier call, so every later call throws this error. */
  #failure: BusError | undefined;
  #received = new Uint8Array();
  #serial = 0;

  private constructor(system: System, socket: StreamSocket, path: string) {
    this.#system = system;
    this.#socket = socket;
    this.#path = path;
    this.#openUntilMs = system.now() + OPENING_MS;
  }

  /**
   * Connects to the system bus. Returns undefined if the system has no bus. Throws `BusError` if the bus cannot be
   * used.
   */
  static open(system: System): Bus | undefined {
    const path = busPath(system.environment.DBUS_SYSTEM_BUS_ADDRESS);
    let socket: StreamSocket;
    try {
      socket = system.connectUnix(path);
    } catch (error) {
      if (isSystemError(error, "ENOENT", "ECONNREFUSED", "ENOTDIR")) return undefined;
      throw new BusError(path, `cannot be reached: ${textOf(error)}`, { cause: error });
    }
    const bus = new Bus(system, socket, path);
    try {
      bus.#guarded(() => bus.#authenticate());
      bus.#ask("Hello", []);
      return bus;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * Calls a method and returns its results. Throws `DbusError` if the service refuses, `BusError` if no answer arrives.
   */
  call(call: Call): readonly DbusValue[] {
    return this.#guarded(() => this.#callUntil(call, this.#system.now() + ANSWER_MS));
  }

  /** True if a service owns this name. Throws `BusError`. */
  hasOwner(name: string): boolean {
    return this.#ask("NameHasOwner", [name])[0] === true;
  }

  /** Calls the bus daemon. A refusal by the daemon means that this process cannot use the bus. */
  #ask(member: string, body: readonly string[]): readonly DbusValue[] {
    return this.#guarded(() => {
      try {
        return this.#callUntil({ ...BUS, member, body }, this.#openUntilMs);
      } catch (error) {
        if (!(error instanceof DbusError)) throw error;
        throw new BusError(this.#path, `refused the call: ${error.message}`, { cause: error });
      }
    });
  }

  #callUntil(call: Call, untilMs: number): readonly DbusValue[] {
    const serial = ++this.#serial;
    this.#socket.send(encodeCall({ ...call, serial }));
    for (;;) {
      const message = decodeMessage(this.#take(messageLength, untilMs));
      if (message.replySerial !== serial) continue;
      if (message.type === MESSAGE_TYPE.return) return message.body;
      if (message.type === MESSAGE_TYPE.error) {
        throw new DbusError(call, message.errorName ?? "", String(message.body[0] ?? ""));
      }
    }
  }

  /**
   * Runs `work`. Throws `BusError` for every failure but a service's refusal; after the first one, throws it again at
   * once.
   */
  #guarded<T>(work: () => T): T {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return work();
    } catch (error) {
      if (error instanceof DbusError) throw error;
      this.#failure = error instanceof BusError ? error : new BusError(this.#path, reasonOf(error), { cause: error });
      throw this.#failure;
    }
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Authenticates by EXTERNAL without a name: the bus uses the credentials that the kernel reports for the socket. All
   * lines are sent at once. The bus answers with a request for data and then with its consent.
   */
  #authenticate(): void {
    this.#socket.send(new TextEncoder().encode("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"));
    for (const expected of ["DATA", "OK"]) {
      const line = new TextDecoder().decode(this.#take(lineLength, this.#openUntilMs)).trim();
      if (line.split(" ")[0] !== expected) {
        throw new BusError(this.#path, `refused the authentication: ${JSON.stringify(line.slice(0, LONGEST_QUOTE))}`);
      }
    }
  }

  /** Reads the next bytes. `lengthOf` returns how many, or undefined until it has enough bytes to know. */
  #take(lengthOf: (bytes: Uint8Array) => number | undefined, untilMs: number): Uint8Array {
    for (;;) {
      const length = lengthOf(this.#received);
      if (length !== undefined && length <= this.#received.length) {
        const taken = this.#received.slice(0, length);
        this.#received = this.#received.slice(length);
        return taken;
      }
      const leftMs = untilMs - this.#system.now();
      if (leftMs <= 0) throw new BusError(this.#path, SILENT);
      const more = this.#socket.receive(leftMs);
      if (more.length === 0) throw new BusError(this.#path, "closed the connection");
      const whole = new Uint8Array(this.#received.length + more.length);
      whole.set(this.#received);
      whole.set(more, this.#received.length);
      this.#received = whole;
    }
  }
}

const SILENT = "does not answer";
const LONGEST_QUOTE = 80;
/** A server that sends a longer line is not a D-Bus daemon. */
const LONGEST_LINE = 4096;

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function reasonOf(error: unknown): string {
  if (isSystemError(error, "ETIMEDOUT")) return SILENT;
  return error instanceof DbusFormatError ? `does not speak D-Bus: ${error.message}` : `failed: ${textOf(error)}`;
}

function lineLength(bytes: Uint8Array): number | undefined {
  const end = bytes.indexOf(0x0a);
  if (end < 0 && bytes.length > LONGEST_LINE)
    throw new DbusFormatError(`received a line of more than ${LONGEST_LINE} bytes`);
  return end < 0 ? undefined : end + 1;
}

/** Returns the first socket in a list of addresses: "unix:path=/run/bus,guid=1;tcp:host=x", with %-escapes. */
export function busPath(address: string | undefined): string {
  for (const entry of (address ?? "").split(";")) {
    const path = /^unix:(?:.*,)?path=([^,]*)/.exec(entry)?.[1];
    if (path !== undefined) return decodeURIComponent(path);
  }
  return SYSTEM_BUS;
}
