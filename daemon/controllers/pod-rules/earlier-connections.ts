/**
 * Deletes UDP connections that were tracked while a port was not mapped, because they would continue to lead to the
 * node itself. A connection that the pod already answers stays.
 */
import { type Address, formatAddress, isSameAddress } from "../../../pkg/ip/address.ts";
import { contains, IPV4_LOOPBACK } from "../../../pkg/ip/prefix.ts";
import { addressDump, parseLinkAddress } from "../../../pkg/kernel/address.ts";
import {
  deleteConnection,
  isToHostPort,
  isUdpTo,
  parseConnection,
  type TrackedConnection,
  udpConnections,
} from "../../../pkg/kernel/connection.ts";
import { IPPROTO_UDP } from "../../../pkg/kernel/connection-selector.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { mappingsByPort, type PortMapping } from "../../../pkg/tables/port-mapping.ts";

/** Throws `NetlinkError`. */
export async function forgetEarlierConnections(
  netlink: Pick<EventedNetlink, "dump">,
  netfilter: Pick<EventedNetlink, "dump" | "exchange">,
  mappings: readonly PortMapping[],
): Promise<void> {
  const udp = mappings.filter(({ host }) => host.protocol === IPPROTO_UDP);
  if (udp.length === 0) return;
  const dumped = await netlink.dump(addressDump());
  const own = new Set(dumped.flatMap((message) => addressText(parseLinkAddress(message)?.prefix.address)));
  const isLocal = (address: Address) => contains(IPV4_LOOPBACK, address) || own.has(formatAddress(address));
  for (const family of [4, 6] as const) {
    const ofFamily = udp.filter(({ target }) => target.family === family);
    if (ofFamily.length === 0) continue;
    const byPort = mappingsByPort(ofFamily);
    const ports = new Set(byPort.keys());
    const isStale = (connection: TrackedConnection) =>
      byPort
        .get(connection.destinationPort)
        ?.some(
          ({ host, target }) =>
            isToHostPort(connection, host, isLocal) &&
            (connection.answeredBy === undefined || !isSameAddress(connection.answeredBy, target)),
        ) === true;
    // A node may track a million connections, so those to other ports are dropped as they arrive.
    const filter = { destinationPort: ports.size === 1 ? [...ports][0] : undefined };
    const stale = (await netfilter.dump(udpConnections(family, filter), (message) => isUdpTo(ports, message)))
      .flatMap((message) => parseConnection(message) ?? [])
      .filter(isStale);
    for (const { error } of await netfilter.exchange(stale.map(deleteConnection)))
      if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
  }
}

function addressText(address: Address | undefined): string[] {
  return address === undefined ? [] : [formatAddress(address)];
}
