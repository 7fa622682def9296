/**
 * Tracked connections. An entry of a protocol without connection teardown (UDP) lives while packets arrive, and keeps
 * the translation that was in force when it was created. An entry of an unanswered TCP connection lives while its
 * client retransmits the SYN.
 */
import { type Address, addressFromBytes, type Family, formatAddress, isSameAddress } from "../ip/address.ts";
import {
  type Connection,
  IPCTNL_MSG_CT_DELETE,
  IPCTNL_MSG_CT_GET,
  IPS_SEEN_REPLY,
  originalProtocol,
  RAW_CT_DELETE,
  someAddress,
} from "../netlink/conntrack.ts";
import { decode, dumpRequest, lateRequest, type Message, type Query, type Request } from "../netlink/message.ts";
import { addressFamily } from "./address.ts";
import { type ConnectionSelector, connectionDump, IPPROTO_UDP, protocolName } from "./connection-selector.ts";

/** A tracked connection: the destination of its first packet before any translation, and the source of its replies. */
export interface TrackedConnection {
  readonly family: Family;
  /** IPPROTO_* */
  readonly protocol: number | undefined;
  readonly destination: Address;
  readonly destinationPort: number;
  /** The source address of the replies. */
  readonly answeredBy: Address | undefined;
  readonly answeredFromPort: number | undefined;
  /** True if the kernel has seen a reply. */
  readonly isAnswered: boolean;
  /** 0 if no rule assigned a zone. */
  readonly zone: number;
  /** The attributes from the kernel, which identify the connection in requests. */
  readonly attributes: Connection;
}

/** Limits a dump to some UDP connections; an empty filter selects all of the family. */
export type ConnectionFilter = Pick<ConnectionSelector, "destinationPort" | "answeredBy">;

/**
 * Dumps the UDP connections of a family; the kernel accepts a filter only together with a family. See `connectionDump`.
 */
export function udpConnections(family: Family, filter: ConnectionFilter = {}): Query {
  return connectionDump({ family, protocol: IPPROTO_UDP, ...filter });
}

/** True for a UDP connection to one of `ports`. */
export function isUdpTo(ports: ReadonlySet<number>, message: Message): boolean {
  return isToPorts(IPPROTO_UDP, ports, message);
}

/**
 * True for a connection of `protocol` to one of `ports`. Reads only the original tuple's protocol and ports, since a
 * node may have hundreds of thousands of connections.
 */
export function isToPorts(protocol: number, ports: ReadonlySet<number>, { payload }: Message): boolean {
  const { number, destinationPort } = originalProtocol(payload) ?? {};
  return number === protocol && destinationPort !== undefined && ports.has(destinationPort);
}

/** Parses IPCTNL_MSG_CT_NEW. Returns `undefined` if the entry is not an IP connection with ports. */
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

/**
 * True if the connection's original destination is this port of `address`, or of any address of the node (`isLocal`) if
 * `address` is undefined.
 */
export function isToHostPort(
  { destination, destinationPort }: TrackedConnection,
  { address, port }: { readonly address: Address | undefined; readonly port: number },
  isLocal: (address: Address) => boolean,
): boolean {
  if (destinationPort !== port) return false;
  return address === undefined ? isLocal(destination) : isSameAddress(destination, address);
}

type Named = Pick<TrackedConnection, "family" | "protocol" | "destination" | "attributes"> & {
  /** Undefined for protocols without ports. */
  readonly destinationPort: number | undefined;
};

/** Deletes a connection. Fails with ENOENT if it has already ended. */
export function deleteConnection({ family, protocol, destination, destinationPort, attributes }: Named): Request {
  const { original, id, zone } = attributes;
  const address = formatAddress(destination);
  const port = destinationPort === undefined ? "" : ` --orig-port-dst ${destinationPort}`;
  return lateRequest(
    IPCTNL_MSG_CT_DELETE,
    () => ({ kind: "connection", key: `${address} ${destinationPort ?? "*"} id ${id ?? "none"} zone ${zone ?? 0}` }),
    () => `conntrack -D -p ${protocolName(protocol)} --orig-dst ${address}${port}`,
    () => [{ family: addressFamily(family) }, { original, id, zone }],
  );
}

/** Dumps the connections of a family, of all protocols. The kernel walks its entire table. */
export function connectionsOfFamily(family: Family): Query {
  return dumpRequest(IPCTNL_MSG_CT_GET, `conntrack -L -f ipv${family}`, { family: addressFamily(family) }, {});
}

/** The key of an address in a set for `hasAddressIn`. */
export function bytesKey(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** True if one of the connection's four addresses is in `keys` (`bytesKey`). */
export function hasAddressIn(keys: ReadonlySet<string>, { payload }: Message): boolean {
  return someAddress(payload, (bytes) => keys.has(bytesKey(bytes)));
}

/** Returns the connection's four addresses; equal ones more than once. */
export function addressesOf({ payload }: Message): readonly Address[] {
  const addresses: Address[] = [];
  someAddress(payload, (bytes) => {
    addresses.push(addressFromBytes(bytes));
    return false;
  });
  return addresses;
}

/** Deletes the connection of a dump's message, of any protocol. Fails with ENOENT if it has already ended. */
export function deleteTracked(message: Message): Request {
  const { header, attributes } = decode(RAW_CT_DELETE, message);
  const { original, id, zone } = attributes;
  return lateRequest(
    RAW_CT_DELETE,
    () => ({ kind: "connection", key: `id ${id ?? "none"} zone ${zone ?? 0}` }),
    () => `conntrack -D --id ${id ?? "none"}`,
    () => [{ family: header.family }, { original, id, zone }],
  );
}
