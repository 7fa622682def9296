/**
 * Tracked connections. Those of a protocol without an end of its own (UDP) live on while packets come, and keep leading
 * where the translation led that was in force when they began; a TCP connection that nothing answers lives on while its
 * client repeats the SYN.
 */
import { type Address, addressFromBytes, type Family, formatAddress, isSameAddress } from "../ip/address.ts";
import {
  type Connection,
  IPCTNL_MSG_CT_DELETE,
  IPCTNL_MSG_CT_GET,
  IPS_SEEN_REPLY,
  originalProtocol,
} from "../netlink/conntrack.ts";
import { decode, lateRequest, type Message, type Query, type Request } from "../netlink/message.ts";
import { addressFamily } from "./address.ts";
import { type ConnectionSelector, connectionDump, IPPROTO_UDP, protocolName } from "./connection-selector.ts";

/** A connection as its first packet was addressed, before any translation, and what answers it. */
export interface TrackedConnection {
  readonly family: Family;
  /** IPPROTO_* */
  readonly protocol: number | undefined;
  readonly destination: Address;
  readonly destinationPort: number;
  /** Its replies' source. */
  readonly answeredBy: Address | undefined;
  readonly answeredFromPort: number | undefined;
  /** A reply has come. */
  readonly isAnswered: boolean;
  /** 0 where no rule gave it another. */
  readonly zone: number;
  /** As the kernel tells it: what names it in requests. */
  readonly attributes: Connection;
}

/** Which UDP connections a dump is for; all of the family where nothing more is said. */
export type ConnectionFilter = Pick<ConnectionSelector, "destinationPort" | "answeredBy">;

/** UDP connections of a family; the kernel takes a filter only with one. See `connectionDump`. */
export function udpConnections(family: Family, filter: ConnectionFilter = {}): Query {
  return connectionDump({ family, protocol: IPPROTO_UDP, ...filter });
}

/** True for a UDP connection that was opened to one of `ports`. */
export function isUdpTo(ports: ReadonlySet<number>, message: Message): boolean {
  return isToPorts(IPPROTO_UDP, ports, message);
}

/** True for a connection of `protocol` that was opened to one of `ports`. Cheap: a node may have hundreds of thousands. */
export function isToPorts(protocol: number, ports: ReadonlySet<number>, { payload }: Message): boolean {
  const { number, destinationPort } = originalProtocol(payload) ?? {};
  return number === protocol && destinationPort !== undefined && ports.has(destinationPort);
}

/** Reads IPCTNL_MSG_CT_NEW; `undefined` for what is no IP connection between ports. */
export function parseConnection(message: Message): TrackedConnection | undefined {
  const { attributes } = decode(IPCTNL_MSG_CT_GET, message);
  const { ip, protocol } = attributes.original ?? {};
  const bytes = ip?.destination4 ?? ip?.destination6;
  if (bytes === undefined || protocol?.destinationPort === undefined) return undefined;
  const destination = addressFromBytes(bytes);
  const answering = attributes.reply?.ip?.source4 ?? attributes.reply?.ip?.source6;
  return {
    ...{ family: destination.family, protocol: protocol.number, destination },
    destinationPort: protocol.destinationPort,
    answeredBy: answering === undefined ? undefined : addressFromBytes(answering),
    answeredFromPort: attributes.reply?.protocol?.sourcePort,
    isAnswered: ((attributes.status ?? 0) & IPS_SEEN_REPLY) !== 0,
    zone: attributes.zone ?? 0,
    attributes,
  };
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

type Named = Pick<TrackedConnection, "family" | "protocol" | "destination" | "destinationPort" | "attributes">;

/** ENOENT when it has ended meanwhile. */
export function deleteConnection({ family, protocol, destination, destinationPort, attributes }: Named): Request {
  const { original, id, zone } = attributes;
  const address = formatAddress(destination);
  return lateRequest(
    IPCTNL_MSG_CT_DELETE,
    () => ({ kind: "connection", key: `${address} ${destinationPort} id ${id ?? "none"} zone ${zone ?? 0}` }),
    () => `conntrack -D -p ${protocolName(protocol)} --orig-dst ${address} --orig-port-dst ${destinationPort}`,
    () => [{ family: addressFamily(family) }, { original, id, zone }],
  );
}
