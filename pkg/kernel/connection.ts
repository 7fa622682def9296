/**
 * Tracked connections of a protocol without an end of its own (UDP): they live on while packets come, and keep leading
 * where the translation led that was in force when they began.
 */
import {
  type Address,
  addressFromBytes,
  addressToBytes,
  type Family,
  formatAddress,
  isSameAddress,
} from "../ip/address.ts";
import { type Connection, CTA_FILTER_F, IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET } from "../netlink/conntrack.ts";
import { decode, dumpRequest, type Message, type Request, request } from "../netlink/message.ts";
import { addressFamily } from "./address.ts";
import type { HostPort } from "./port-map-table.ts";

export const IPPROTO_UDP = 17;

/** A connection as its first packet was addressed, before any translation. */
export interface TrackedConnection {
  readonly family: Family;
  readonly destination: Address;
  readonly destinationPort: number;
  /** As the kernel tells it: what names it in requests. */
  readonly attributes: Connection;
}

/** UDP connections that were opened to `port`, of whatever address (Linux 5.8: others answer with all of a family). */
export function connectionsToPort(family: Family, port: number): Request {
  return dumpRequest(
    IPCTNL_MSG_CT_GET,
    `conntrack -L -f ipv${family} -p udp --orig-port-dst ${port}`,
    { family: addressFamily(family) },
    {
      original: { protocol: { number: IPPROTO_UDP, destinationPort: port } },
      filter: { original: CTA_FILTER_F.protocol | CTA_FILTER_F.destinationPort, reply: 0 },
    },
  );
}

/** UDP connections that `address` answers, whatever address they were opened to. */
export function connectionsAnsweredBy(address: Address): Request {
  const bytes = addressToBytes(address);
  return dumpRequest(
    IPCTNL_MSG_CT_GET,
    `conntrack -L -p udp --reply-src ${formatAddress(address)}`,
    { family: addressFamily(address.family) },
    {
      reply: { ip: address.family === 4 ? { source4: bytes } : { source6: bytes }, protocol: { number: IPPROTO_UDP } },
      filter: { original: 0, reply: CTA_FILTER_F.source | CTA_FILTER_F.protocol },
    },
  );
}

/** Reads IPCTNL_MSG_CT_NEW; `undefined` for what is no IP connection between ports. */
export function parseConnection(message: Message): TrackedConnection | undefined {
  const { attributes } = decode(IPCTNL_MSG_CT_GET, message);
  const { ip, protocol } = attributes.original ?? {};
  const bytes = ip?.destination4 ?? ip?.destination6;
  if (bytes === undefined || protocol?.destinationPort === undefined) return undefined;
  const destination = addressFromBytes(bytes);
  return { family: destination.family, destination, destinationPort: protocol.destinationPort, attributes };
}

/** True when it was opened to this port of the node; `isLocal` knows the node's addresses. */
export function isToHostPort(
  { destination, destinationPort }: TrackedConnection,
  { address, port }: Pick<HostPort, "address" | "port">,
  isLocal: (address: Address) => boolean,
): boolean {
  if (destinationPort !== port) return false;
  return address === undefined ? isLocal(destination) : isSameAddress(destination, address);
}

/** True when its answers come from `address`. */
export function isAnsweredBy({ attributes }: TrackedConnection, address: Address): boolean {
  const { source4, source6 } = attributes.reply?.ip ?? {};
  const source = source4 ?? source6;
  return source !== undefined && isSameAddress(addressFromBytes(source), address);
}

/** ENOENT when it has ended meanwhile. */
export function deleteConnection({ family, destination, destinationPort, attributes }: TrackedConnection): Request {
  const { original, id, zone } = attributes;
  return request(
    IPCTNL_MSG_CT_DELETE,
    `conntrack -D -p udp --orig-dst ${formatAddress(destination)} --orig-port-dst ${destinationPort}`,
    { family: addressFamily(family) },
    { original, id, zone },
  );
}
