/**
 * A packet as nf_tables expressions see it: its known bytes. Unknown bytes are undefined, and an expression that
 * depends on them has no result.
 */

import { type Address, addressToBytes } from "../ip/address.ts";
import type { LinkReference } from "../kernel/link.ts";
import { NFPROTO, NFT_CT, NFT_META, NFT_PAYLOAD_BASE } from "../netlink/nftables.ts";
import { interfaceNameBytes } from "../nft/tuple.ts";

export const IPPROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** The first packet of a connection, without a mark. */
export interface Packet {
  readonly source: Address;
  readonly destination: Address;
  /** IPPROTO_*; undefined: any protocol. */
  readonly protocol?: number | undefined;
  readonly destinationPort?: number | undefined;
  /** VXLAN network identifier, for a UDP packet that carries a frame. */
  readonly vni?: number | undefined;
  readonly input?: LinkReference | undefined;
  readonly output?: LinkReference | undefined;
  /** The route type of the destination: RTN_UNICAST or RTN_LOCAL. */
  readonly destinationType: number;
  /** The route type of the source; undefined: unknown. */
  readonly sourceType?: number | undefined;
  /** The destination before translation, if the connection was translated (`ct status dnat`). */
  readonly original?: { readonly destination: Address; readonly port: number | undefined } | undefined;
}

/** A sequence of bytes; unknown ones are undefined. */
export type Known = readonly (number | undefined)[];

/** ETH_P_IP and ETH_P_IPV6, in network byte order. */
const ETHERTYPE = { 4: [0x08, 0x00], 6: [0x86, 0xdd] } as const;
/** A value of NFT_CT_STATE: the connection is new (NF_CT_STATE_BIT(IP_CT_NEW)). */
const STATE_NEW = 8;
/** A value of NFT_CT_STATUS: IPS_DST_NAT. */
const STATUS_DNAT = 1 << 5;

export function unknown(length: number): Known {
  return new Array<number | undefined>(length).fill(undefined);
}

/** Encodes a number in host byte order, the order of register values that are not part of the packet. */
export function hostOrder(value: number): Known {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >>> 24) & 0xff];
}

/** Reads `length` bytes at `offset` of a header (NFT_PAYLOAD_BASE). */
export function payloadOf(packet: Packet, base: number, offset: number, length: number): Known {
  const header =
    base === NFT_PAYLOAD_BASE.network
      ? networkHeader(packet)
      : base === NFT_PAYLOAD_BASE.transport
        ? transportHeader(packet)
        : new Map<number, number>();
  return Array.from({ length }, (_, at) => header.get(offset + at));
}

function networkHeader({ source, destination, protocol }: Packet): Map<number, number> {
  const [protocolAt, sourceAt, destinationAt] = source.family === 4 ? [9, 12, 16] : [6, 8, 24];
  const bytes = new Map<number, number>();
  put(bytes, sourceAt, addressToBytes(source));
  put(bytes, destinationAt, addressToBytes(destination));
  if (protocol !== undefined) bytes.set(protocolAt, protocol);
  return bytes;
}

/**
 * The header of TCP and UDP, which begins with the ports (RFC 9293, RFC 768). VXLAN's VNI is 12 bytes after the start
 * of UDP (RFC 7348).
 */
function transportHeader({ destinationPort, vni }: Packet): Map<number, number> {
  const bytes = new Map<number, number>();
  if (destinationPort !== undefined) put(bytes, 2, [destinationPort >> 8, destinationPort & 0xff]);
  if (vni !== undefined) put(bytes, 12, [vni >> 16, (vni >> 8) & 0xff, vni & 0xff]);
  return bytes;
}

function put(to: Map<number, number>, at: number, bytes: Iterable<number>): void {
  let next = at;
  for (const byte of bytes) to.set(next++, byte);
}

/** The value of a key of NFT_META. */
export function metaOf(packet: Packet, key: number): Known {
  const { source, protocol, input, output } = packet;
  switch (key) {
    case NFT_META.protocol:
      return ETHERTYPE[source.family];
    case NFT_META.nfproto:
      return [source.family === 4 ? NFPROTO.ip : NFPROTO.ip6];
    case NFT_META.l4proto:
      return [protocol];
    case NFT_META.iif:
      return input === undefined ? unknown(4) : hostOrder(input.index);
    case NFT_META.oif:
      return output === undefined ? unknown(4) : hostOrder(output.index);
    case NFT_META.iifname:
      return nameOf(input);
    case NFT_META.oifname:
      return nameOf(output);
    default:
      return unknown(4);
  }
}

function nameOf(device: LinkReference | undefined): Known {
  return device === undefined ? unknown(16) : [...interfaceNameBytes(device.name)];
}

/** The value of a conntrack key for the first packet of a connection, in its original direction. */
export function conntrackOf({ original, destination, destinationPort }: Packet, key: number): Known {
  switch (key) {
    case NFT_CT.state:
      return hostOrder(STATE_NEW);
    case NFT_CT.status:
      return hostOrder(original === undefined ? 0 : STATUS_DNAT);
    case NFT_CT.direction:
      return hostOrder(0);
    case NFT_CT.destinationIpv4:
    case NFT_CT.destinationIpv6:
      return [...addressToBytes(original?.destination ?? destination)];
    case NFT_CT.protocolDestination: {
      const port = original === undefined ? destinationPort : original.port;
      return port === undefined ? unknown(2) : [port >> 8, port & 0xff];
    }
    default:
      return unknown(16);
  }
}
