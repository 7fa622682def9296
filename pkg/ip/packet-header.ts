/** The headers at the beginning of an IP packet: addresses, protocol and ports. */
import { type Address, addressFromBytes } from "./address.ts";

export interface PacketHeader {
  readonly from: Address;
  readonly to: Address;
  /** The number of the protocol after all IPv6 extension headers. */
  readonly protocol: number;
  /**
   * Undefined for protocols without ports, for a fragment that is not the first, and if the port is beyond the end of
   * the bytes.
   */
  readonly destinationPort: number | undefined;
}

const IPV4_MINIMUM = 20;
const IPV6_HEADER = 40;
const FRAGMENT_OFFSET_MASK = { 4: 0x1fff, 6: 0xfff8 } as const;

/** Protocols whose header begins with source and destination port: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);

/** IPv6 extension headers (RFC 8200): hop-by-hop options, routing, fragment, authentication, destination options. */
const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60 } as const;
const EXTENSIONS: ReadonlySet<number> = new Set(Object.values(EXTENSION));

/** Returns undefined if the bytes are too short for the IP header, or are not an IP packet. */
export function readPacketHeader(bytes: Uint8Array): PacketHeader | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4 && bytes.length >= IPV4_MINIMUM) return readIpv4(bytes);
  if (version === 6 && bytes.length >= IPV6_HEADER) return readIpv6(bytes);
  return undefined;
}

function readIpv4(bytes: Uint8Array): PacketHeader {
  const protocol = bytes[9] ?? 0;
  const isFirst = ((be16(bytes, 6) ?? 0) & FRAGMENT_OFFSET_MASK[4]) === 0;
  return {
    from: addressFromBytes(bytes.subarray(12, 16)),
    to: addressFromBytes(bytes.subarray(16, 20)),
    ...{ protocol, destinationPort: isFirst ? portAt(bytes, protocol, ((bytes[0] ?? 0) & 15) * 4) : undefined },
  };
}

function readIpv6(bytes: Uint8Array): PacketHeader {
  let protocol = bytes[6] ?? 0;
  let at = IPV6_HEADER;
  let isFirst = true;
  while (EXTENSIONS.has(protocol) && at + 8 <= bytes.length) {
    const length = bytes[at + 1] ?? 0;
    if (protocol === EXTENSION.fragment) isFirst &&= ((be16(bytes, at + 2) ?? 0) & FRAGMENT_OFFSET_MASK[6]) === 0;
    const size =
      protocol === EXTENSION.fragment ? 8 : protocol === EXTENSION.authentication ? (length + 2) * 4 : (length + 1) * 8;
    protocol = bytes[at] ?? 0;
    at += size;
    // The header of a later fragment is followed by the middle of the packet, not by a header.
    if (!isFirst) break;
  }
  return {
    from: addressFromBytes(bytes.subarray(8, 24)),
    to: addressFromBytes(bytes.subarray(24, 40)),
    ...{ protocol, destinationPort: isFirst ? portAt(bytes, protocol, at) : undefined },
  };
}

function portAt(bytes: Uint8Array, protocol: number, transportAt: number): number | undefined {
  return WITH_PORTS.has(protocol) ? be16(bytes, transportAt + 2) : undefined;
}

function be16(bytes: Uint8Array, at: number): number | undefined {
  const [high, low] = [bytes[at], bytes[at + 1]];
  return high === undefined || low === undefined ? undefined : (high << 8) | low;
}
