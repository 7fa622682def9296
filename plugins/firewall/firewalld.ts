/** Controls firewalld's zones over D-Bus. firewalld applies the zone's rules to an address in the zone. */
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { Bus, BusError, DbusError } from "../../pkg/dbus/bus.ts";
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import type { System } from "../../pkg/sys/system.ts";

const NAME = "org.fedoraproject.FirewallD1";
const ZONES = { destination: NAME, path: "/org/fedoraproject/FirewallD1", interface: `${NAME}.zone` } as const;

/** Returns the error for a failed call of firewalld (`wanted`), with advice to avoid firewalld. */
export function notAnswering(error: BusError, wanted: string): CniError {
  const advice = 'repair D-Bus and firewalld, or set backend to "nftables", which needs neither';
  return new CniError(ErrorCode.tryAgainLater, `${wanted}: ${error.message}; ${advice}`, { cause: error });
}

export class Firewalld {
  readonly #bus: Bus;
  readonly #zone: string;

  private constructor(bus: Bus, zone: string) {
    this.#bus = bus;
    this.#zone = zone;
  }

  /** Undefined if firewalld does not run. Throws `BusError` if the bus is broken. */
  static open(system: System, zone: string): Firewalld | undefined {
    const bus = Bus.open(system);
    let isRunning = false;
    try {
      isRunning = bus?.hasOwner(NAME) === true;
    } finally {
      if (!isRunning) bus?.close();
    }
    return bus !== undefined && isRunning ? new Firewalld(bus, zone) : undefined;
  }

  close(): void {
    this.#bus.close();
  }

  /** Succeeds if the address is in the zone already. */
  add(address: Address): void {
    this.#ignoring("ZONE_ALREADY_SET", () => this.#call("addSource", address));
  }

  /** Succeeds if the address is not in the zone. */
  remove(address: Address): void {
    this.#ignoring("UNKNOWN_SOURCE", () => this.#call("removeSource", address));
  }

  holds(address: Address): boolean {
    return this.#call("querySource", address) === true;
  }

  #call(member: string, address: Address): unknown {
    const source = `${formatAddress(address)}/${address.family === 4 ? 32 : 128}`;
    try {
      return this.#bus.call({ ...ZONES, member, body: [this.#zone, source] })[0];
    } catch (error) {
      throw error instanceof BusError ? notAnswering(error, `firewalld's ${member}(${this.#zone}, ${source})`) : error;
    }
  }

  /** firewalld begins an error's text with its own code. */
  #ignoring(code: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof DbusError && error.message.includes(code))) throw error;
    }
  }
}
