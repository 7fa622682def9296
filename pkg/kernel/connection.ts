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
import {
  type Connection,
  CTA_FILTER_F,
  IPCTNL_MSG_CT_DELETE,
  IPCTNL_MSG_CT_GET,
  originalProtocol,
} from "../netlink/conntrack.ts";
import { decode, dumpRequest, type Message, type Query, type Request, request } from "../netlink/message.ts";
import { addressFamily } from "./address.ts";

export const IPPROTO_UDP = 17;

/** A UDP connection as its first packet was addressed, before any translation, and what answers it. */
export interface TrackedConnection {
  readonly family: Family;
  readonly destination: Address;
  readonly destinationPort: number;
  /** Its replies' source. */
  readonly answeredBy: Address | undefined;
  /** As the kernel tells it: what names it in requests. */
  readonly attributes: Connection;
}

/** Which UDP connections a dump is for; all of the family where nothing more is said. */
export interface ConnectionFilter {
  /** The port that they were opened to. */
  readonly destinationPort?: number | undefined;
  /** The source of their replies. */
  readonly answeredBy?: Address | undefined;
}

/**
 * UDP connections of a family; the kernel takes a filter only with one. It walks its whole table for each dump, whatever the
 * filter. Kernels before 5.8 know no filter, and answer with all connections of the family.
 */
export function udpConnections(family: Family, { destinationPort, answeredBy }: ConnectionFilter = {}): Query {
  const words = [
    ...(destinationPort === undefined ? [] : [` --orig-port-dst ${destinationPort}`]),
    ...(answeredBy === undefined ? [] : [` --reply-src ${formatAddress(answeredBy)}`]),
  ];
  const port = destinationPort === undefined ? 0 : CTA_FILTER_F.destinationPort;
  return dumpRequest(
    IPCTNL_MSG_CT_GET,
    `conntrack -L -f ipv${family} -p udp${words.join("")}`,
    { family: addressFamily(family) },
    {
      original: { protocol: { number: IPPROTO_UDP, destinationPort } },
      ...(answeredBy === undefined ? {} : { reply: { ip: sourceOf(answeredBy) } }),
      filter: {
        original: CTA_FILTER_F.protocol | port,
        reply: answeredBy === undefined ? 0 : CTA_FILTER_F.source,
      },
    },
  );
}

function sourceOf(address: Address) {
  const bytes = addressToBytes(address);
  return address.family === 4 ? { source4: bytes } : { source6: bytes };
}

/** True for a UDP connection that was opened to one of `ports`. Cheap: a node may have hundreds of thousands. */
export function isUdpTo(ports: ReadonlySet<number>, { payload }: Message): boolean {
  const { number, destinationPort } = originalProtocol(payload) ?? {};
  return number === IPPROTO_UDP && destinationPort !== undefined && ports.has(destinationPort);
}

/** Reads IPCTNL_MSG_CT_NEW; `undefined` for what is no IP connection between ports. */
export function parseConnection(message: Message): TrackedConnection | undefined {
  const { attributes } = decode(IPCTNL_MSG_CT_GET, message);
  const { ip, protocol } = attributes.original ?? {};
  const bytes = ip?.destination4 ?? ip?.destination6;
  if (bytes === undefined || protocol?.destinationPort === undefined) return undefined;
  const destination = addressFromBytes(bytes);
  const answering = attributes.reply?.ip?.source4 ?? attributes.reply?.ip?.source6;
  const answeredBy = answering === undefined ? undefined : addressFromBytes(answering);
  return { family: destination.family, destination, destinationPort: protocol.destinationPort, answeredBy, attributes };
}

/** True when it was opened to this port: of `address`, or of any of the node's addresses (`isLocal`) where that is undefined. */
export function isToHostPort(
  { destination, destinationPort }: TrackedConnection,
  { address, port }: { readonly address: Address | undefined; readonly port: number },
  isLocal: (address: Address) => boolean,
): boolean {
  if (destinationPort !== port) return false;
  return address === undefined ? isLocal(destination) : isSameAddress(destination, address);
}

/** ENOENT when it has ended meanwhile. */
export function deleteConnection({ family, destination, destinationPort, attributes }: TrackedConnection): Request {
  const { original, id, zone } = attributes;
  return request(
    IPCTNL_MSG_CT_DELETE,
    {
      kind: "connection",
      key: `${formatAddress(destination)} ${destinationPort} id ${id ?? "none"} zone ${zone ?? 0}`,
    },
    `conntrack -D -p udp --orig-dst ${formatAddress(destination)} --orig-port-dst ${destinationPort}`,
    { family: addressFamily(family) },
    { original, id, zone },
  );
}
