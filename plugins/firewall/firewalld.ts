/** firewalld's zones, over D-Bus: an address in a zone is treated as the zone says. */
import { Bus, DbusError } from "../../pkg/dbus/bus.ts";
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import type { System } from "../../pkg/sys/system.ts";

const NAME = "org.fedoraproject.FirewallD1";
const ZONES = { destination: NAME, path: "/org/fedoraproject/FirewallD1", interface: `${NAME}.zone` } as const;

export class Firewalld {
  readonly #bus: Bus;
  readonly #zone: string;

  private constructor(bus: Bus, zone: string) {
    this.#bus = bus;
    this.#zone = zone;
  }

  /** Does `work` with firewalld; with `undefined` where it does not run. */
  static use<T>(system: System, zone: string, work: (firewalld: Firewalld | undefined) => T): T {
    const bus = Bus.open(system);
    try {
      return work(bus?.hasOwner(NAME) === true ? new Firewalld(bus, zone) : undefined);
    } finally {
      bus?.close();
    }
  }

  /** Silent when the address is in the zone already. */
  add(address: Address): void {
    this.#ignoring("ZONE_ALREADY_SET", () => this.#call("addSource", address));
  }

  /** Silent when it is not there. */
  remove(address: Address): void {
    this.#ignoring("UNKNOWN_SOURCE", () => this.#call("removeSource", address));
  }

  holds(address: Address): boolean {
    return this.#call("querySource", address) === true;
  }

  #call(member: string, address: Address): unknown {
    const source = `${formatAddress(address)}/${address.family === 4 ? 32 : 128}`;
    return this.#bus.call({ ...ZONES, member, body: [this.#zone, source] })[0];
  }

  /** firewalld puts its own code in front of an error's text. */
  #ignoring(code: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof DbusError && error.message.includes(code))) throw error;
    }
  }
}
