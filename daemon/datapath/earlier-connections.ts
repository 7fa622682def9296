/**
 * UDP connections that were tracked while a port was not mapped would go on leading to the node itself: they are
 * deleted. A connection that the pod answers already stays.
 */
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { contains, IPV4_LOOPBACK } from "../../pkg/ip/prefix.ts";
import { addressDump, parseLinkAddress } from "../../pkg/kernel/address.ts";
import {
  connectionsToPort,
  deleteConnection,
  IPPROTO_UDP,
  isAnsweredBy,
  isToHostPort,
  parseConnection,
} from "../../pkg/kernel/connection.ts";
import type { PortMapping } from "../../pkg/kernel/port-map-table.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../pkg/netlink/evented.ts";

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
  for (const { host, target } of udp) {
    const tracked = await netfilter.dump(connectionsToPort(target.family, host.port));
    const stale = tracked
      .flatMap((message) => parseConnection(message) ?? [])
      .filter((connection) => isToHostPort(connection, host, isLocal) && !isAnsweredBy(connection, target));
    for (const { error } of await netfilter.exchange(stale.map(deleteConnection)))
      if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
  }
}

function addressText(address: Address | undefined): string[] {
  return address === undefined ? [] : [formatAddress(address)];
}
