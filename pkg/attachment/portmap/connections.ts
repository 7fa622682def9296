/**
 * UDP connections that were tracked before a port was mapped, or while it was, would go on leading elsewhere: the kernel
 * is told to forget them. That is a courtesy: where it fails, standard error says so, and they end by themselves.
 */
import { messageOf } from "../../cni/errors.ts";
import { type Address, type Family, isSameAddress } from "../../ip/address.ts";
import { contains, IPV4_LOOPBACK } from "../../ip/prefix.ts";
import { addressDump, parseLinkAddress } from "../../kernel/address.ts";
import {
  connectionsAnsweredBy,
  connectionsToPort,
  deleteConnection,
  IPPROTO_UDP,
  isToHostPort,
  parseConnection,
  type TrackedConnection,
} from "../../kernel/connection.ts";
import type { PortMapping } from "../../kernel/port-map-table.ts";
import { openNetfilter, openRoute } from "../../netlink/blocking.ts";
import { isNetlinkError } from "../../netlink/errors.ts";
import type { Request } from "../../netlink/message.ts";
import type { System } from "../../sys/system.ts";

/** Those that were opened to the mapped ports of the node's addresses. */
export function forgetEarlierConnections(system: System, mappings: readonly PortMapping[]): void {
  const udp = udpOf(mappings);
  if (udp.length === 0) return;
  attempt(system, () => {
    const local = new LocalAddresses(system);
    for (const { host, target } of udp) {
      forget(system, connectionsToPort(target.family, host.port), (connection) =>
        isToHostPort(connection, host, (address) => local.has(address)),
      );
    }
  });
}

/** Those that came by the mapped ports and are answered by a pod that is gone. */
export function forgetPodConnections(system: System, mappings: readonly PortMapping[]): void {
  for (const { host, target } of udpOf(mappings)) {
    attempt(system, () =>
      forget(system, connectionsAnsweredBy(target), ({ destinationPort }) => destinationPort === host.port),
    );
  }
}

function udpOf(mappings: readonly PortMapping[]): PortMapping[] {
  return mappings.filter(({ host }) => host.protocol === IPPROTO_UDP);
}

function attempt(system: System, work: () => void): void {
  try {
    work();
  } catch (error) {
    const text = `portmap: earlier UDP connections keep their way until they time out: ${messageOf(error)}\n`;
    system.writeErrorOutput(new TextEncoder().encode(text));
  }
}

function forget(system: System, dump: Request, isStale: (connection: TrackedConnection) => boolean): void {
  const netfilter = openNetfilter(system);
  try {
    const stale = netfilter.dump(dump).flatMap((message) => {
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

/** The node's own addresses, read when first asked for. */
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
