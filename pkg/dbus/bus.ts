/** Calling methods over the system's D-Bus: the executables' way, asking and waiting. */
import { isSystemError } from "../sys/errors.ts";
import type { StreamSocket, System } from "../sys/system.ts";
import { type DbusValue, decodeMessage, encodeCall, MESSAGE_TYPE, type MethodCall, messageLength } from "./message.ts";

/** The bus itself, as a service on it. */
const BUS = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const SYSTEM_BUS = "/run/dbus/system_bus_socket";
/** What D-Bus libraries wait for an answer. */
const SILENCE_MS = 25_000;

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
  readonly #socket: StreamSocket;
  readonly #path: string;
  #received = new Uint8Array();
  #serial = 0;

  private constructor(socket: StreamSocket, path: string) {
    this.#socket = socket;
    this.#path = path;
  }

  /** `undefined` where the system has no bus. Throws where it has one that does not let us in. */
  static open(system: System): Bus | undefined {
    const path = busPath(system.environment.DBUS_SYSTEM_BUS_ADDRESS);
    let socket: StreamSocket;
    try {
      socket = system.connectUnix(path);
    } catch (error) {
      if (isSystemError(error, "ENOENT", "ECONNREFUSED", "ENOTDIR")) return undefined;
      throw error;
    }
    const bus = new Bus(socket, path);
    try {
      bus.#authenticate();
      bus.call({ ...BUS, member: "Hello", body: [] });
      return bus;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** The method's results. Throws `DbusError` for what the service refuses. */
  call(call: Call): readonly DbusValue[] {
    const serial = ++this.#serial;
    this.#socket.send(encodeCall({ ...call, serial }));
    for (;;) {
      const message = decodeMessage(this.#take(messageLength));
      if (message.replySerial !== serial) continue;
      if (message.type === MESSAGE_TYPE.return) return message.body;
      if (message.type === MESSAGE_TYPE.error) {
        throw new DbusError(call, message.errorName ?? "", String(message.body[0] ?? ""));
      }
    }
  }

  /** True when a service of this name runs. */
  hasOwner(name: string): boolean {
    return this.call({ ...BUS, member: "NameHasOwner", body: [name] })[0] === true;
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
      const line = new TextDecoder().decode(this.#take(lineLength)).trim();
      if (line.split(" ")[0] !== expected) throw new Error(`D-Bus at ${this.#path} does not let us in: ${line}`);
    }
  }

  /** The next bytes, as many as `lengthOf` says once it knows. */
  #take(lengthOf: (bytes: Uint8Array) => number | undefined): Uint8Array {
    for (;;) {
      const length = lengthOf(this.#received);
      if (length !== undefined && length <= this.#received.length) {
        const taken = this.#received.slice(0, length);
        this.#received = this.#received.slice(length);
        return taken;
      }
      const more = this.#socket.receive(SILENCE_MS);
      if (more.length === 0) throw new Error(`D-Bus at ${this.#path} closed the connection`);
      const whole = new Uint8Array(this.#received.length + more.length);
      whole.set(this.#received);
      whole.set(more, this.#received.length);
      this.#received = whole;
    }
  }
}

function lineLength(bytes: Uint8Array): number | undefined {
  const end = bytes.indexOf(0x0a);
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
