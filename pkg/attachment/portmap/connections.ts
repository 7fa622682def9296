/**
 * Deletes stale UDP connections from connection tracking. Connections that the kernel tracked before a port was mapped,
 * or while it was mapped, would keep their old target. A failure is not fatal: weft prints it on standard error, and
 * the connections time out.
 */

import { messageOf } from "../../cni/errors.ts";
import { type Address, addressKey, type Family, isSameAddress } from "../../ip/address.ts";
import { contains, IPV4_LOOPBACK } from "../../ip/prefix.ts";
import { addressDump, parseLinkAddress } from "../../kernel/address.ts";
import {
  deleteConnection,
  isToHostPort,
  isUdpTo,
  parseConnection,
  type TrackedConnection,
  udpConnections,
} from "../../kernel/connection.ts";
import { IPPROTO_UDP } from "../../kernel/connection-selector.ts";
import { openNetfilter, openRoute } from "../../netlink/blocking.ts";
import { isNetlinkError } from "../../netlink/errors.ts";
import type { Query } from "../../netlink/message.ts";
import type { System } from "../../sys/system.ts";
import { mappingsByPort, type PortMapping } from "../../tables/port-mapping.ts";

export interface Stale {
  /** Connections that were opened to these ports of the node's addresses. */
  readonly opened?: readonly PortMapping[];
  /** Connections to these ports that are answered by the mappings' pods, which no longer exist. */
  readonly answered?: readonly PortMapping[];
}

/** Reads connections by one dump for all ports of a family: each dump walks the kernel's complete table. */
export function forgetConnections(system: System, { opened = [], answered = [] }: Stale): void {
  for (const family of [4, 6] as const) {
    const ofFamily = ({ target, host }: PortMapping) => target.family === family && host.protocol === IPPROTO_UDP;
    forgetFamily(system, family, { opened: opened.filter(ofFamily), answered: answered.filter(ofFamily) });
  }
}

function forgetFamily(system: System, family: Family, { opened, answered }: Required<Stale>): void {
  const [byOpened, byAnswered] = [mappingsByPort(opened), mappingsByPort(answered)];
  const ports = new Set([...byOpened.keys(), ...byAnswered.keys()]);
  if (ports.size === 0) return;
  const pods = new Map(answered.map(({ target }) => [addressKey(target), target]));
  const filter = {
    destinationPort: ports.size === 1 ? [...ports][0] : undefined,
    answeredBy: byOpened.size === 0 && pods.size === 1 ? [...pods.values()][0] : undefined,
  };
  attempt(system, () => {
    const local = new LocalAddresses(system);
    forget(system, udpConnections(family, filter), ports, (connection) => {
      const { destinationPort, answeredBy } = connection;
      const isOpened = ({ host }: PortMapping) => isToHostPort(connection, host, (address) => local.has(address));
      const isAnswered = ({ target }: PortMapping) => answeredBy !== undefined && isSameAddress(answeredBy, target);
      return (
        byOpened.get(destinationPort)?.some(isOpened) === true ||
        byAnswered.get(destinationPort)?.some(isAnswered) === true
      );
    });
  });
}

function attempt(system: System, work: () => void): void {
  try {
    work();
  } catch (error) {
    const failure = "cannot delete earlier UDP connections, which keep their old target until they time out";
    const text = `portmap: ${failure}: ${messageOf(error)}\n`;
    system.writeErrorOutput(new TextEncoder().encode(text));
  }
}

function forget(
  system: System,
  dump: Query,
  ports: ReadonlySet<number>,
  isStale: (connection: TrackedConnection) => boolean,
): void {
  const netfilter = openNetfilter(system);
  try {
    const stale = netfilter
      .dump(dump, (message) => isUdpTo(ports, message))
      .flatMap((message) => {
        const connection = parseConnection(message);
        return connection !== undefined && isStale(connection) ? [connection] : [];
      });
    for (const { error } of netfilter.exchange(stale.map(deleteConnection))) {
      if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
    }
  } finally {
    netfilter.close();
  }
}

/** The node's own addresses, read on first use. */
class LocalAddresses {
  readonly #system: System;
  readonly #held = new Map<Family, readonly Address[]>();

  constructor(system: System) {
    this.#system = system;
  }

  has(address: Address): boolean {
    const { family } = address;
    const held = this.#held.get(family) ?? this.#read(family);
    this.#held.set(family, held);
    return contains(IPV4_LOOPBACK, address) || held.some((own) => isSameAddress(own, address));
  }

  #read(family: Family): Address[] {
    const host = openRoute(this.#system);
    try {
      return host.dump(addressDump(family)).flatMap((message) => parseLinkAddress(message)?.prefix.address ?? []);
    } finally {
      host.close();
    }
  }
}
