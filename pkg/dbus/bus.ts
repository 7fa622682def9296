/** Calling methods over the system's D-Bus: the executables' way, asking and waiting. */
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

/** The bus itself, as a service on it. */
const BUS = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const SYSTEM_BUS = "/run/dbus/system_bus_socket";
/** What D-Bus libraries wait for a service's answer. */
const ANSWER_MS = 25_000;
/** The bus itself answers at once, or is broken: for all that is asked of it, one after the other. */
const OPENING_MS = 4000;

/** The bus itself does not work: it is silent, refuses us, breaks off, or its answers are no D-Bus. */
export class BusError extends Error {
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`D-Bus at ${path} ${reason}`, options);
    this.name = "BusError";
  }
}

/** A service refused a call: `errorName` is its error's name on the bus. */
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
  /** Of what is asked of the bus itself. */
  readonly #openUntilMs: number;
  /** After a failure no answer can be told from an earlier call's: nothing more is asked. */
  #failure: BusError | undefined;
  #received = new Uint8Array();
  #serial = 0;

  private constructor(system: System, socket: StreamSocket, path: string) {
    this.#system = system;
    this.#socket = socket;
    this.#path = path;
    this.#openUntilMs = system.now() + OPENING_MS;
  }

  /** `undefined` where the system has no bus. Throws `BusError` where it has one that does not let us in. */
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

  /** The method's results. Throws `DbusError` for what the service refuses, `BusError` where no answer comes. */
  call(call: Call): readonly DbusValue[] {
    return this.#guarded(() => this.#callUntil(call, this.#system.now() + ANSWER_MS));
  }

  /** True when a service of this name runs. Throws `BusError`. */
  hasOwner(name: string): boolean {
    return this.#ask("NameHasOwner", [name])[0] === true;
  }

  /** Of the bus itself, whose refusals mean that it does not serve us. */
  #ask(member: string, body: readonly string[]): readonly DbusValue[] {
    return this.#guarded(() => {
      try {
        return this.#callUntil({ ...BUS, member, body }, this.#openUntilMs);
      } catch (error) {
        if (!(error instanceof DbusError)) throw error;
        throw new BusError(this.#path, `refuses us: ${error.message}`, { cause: error });
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

  /** Throws `BusError` for all but a service's refusal, and from then on at once. */
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
   * EXTERNAL without a name: the bus takes us for who the kernel says we are. All lines go at once; the answers are a
   * question for data, and the consent.
   */
  #authenticate(): void {
    this.#socket.send(new TextEncoder().encode("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"));
    for (const expected of ["DATA", "OK"]) {
      const line = new TextDecoder().decode(this.#take(lineLength, this.#openUntilMs)).trim();
      if (line.split(" ")[0] !== expected) {
        throw new BusError(this.#path, `does not let us in: ${JSON.stringify(line.slice(0, LONGEST_QUOTE))}`);
      }
    }
  }

  /** The next bytes, as many as `lengthOf` says once it knows. */
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
/** A server that never ends its line is no bus. */
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
  if (end < 0 && bytes.length > LONGEST_LINE) throw new DbusFormatError(`a line of more than ${LONGEST_LINE} bytes`);
  return end < 0 ? undefined : end + 1;
}

/** The first socket in a list of addresses: "unix:path=/run/bus,guid=1;tcp:host=x", with %-escapes. */
export function busPath(address: string | undefined): string {
  for (const entry of (address ?? "").split(";")) {
    const path = /^unix:(?:.*,)?path=([^,]*)/.exec(entry)?.[1];
    if (path !== undefined) return decodeURIComponent(path);
  }
  return SYSTEM_BUS;
}
