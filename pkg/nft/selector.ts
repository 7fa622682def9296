/** A property of a packet that rules read: its nft name, and the expression that loads it into a register. */
import type { Family } from "../ip/address.ts";
import {
  CT_DIRECTION_ORIGINAL,
  type Expression,
  NFT_CT,
  NFT_FIB_FLAG,
  NFT_FIB_RESULT,
  NFT_META,
  NFT_NG_RANDOM,
  NFT_PAYLOAD_BASE,
  NFT_REG,
  NFT_REG32_00,
} from "../netlink/nftables.ts";

export interface Selector {
  readonly text: string;
  /** In bytes; in a row of selectors each value is padded to 4-byte registers. */
  readonly length: number;
  load(register: number): Expression;
}

const REGISTER_LENGTH = 4;

/** The offsets of the addresses in the header, in bytes (RFC 791 section 3.1, RFC 8200 section 3). */
const ADDRESS_OFFSET = { saddr: { 4: 12, 6: 8 }, daddr: { 4: 16, 6: 24 } } as const;
const ADDRESS_LENGTH = { 4: 4, 6: 16 } as const;
const PROTOCOL = { 4: "ip", 6: "ip6" } as const;

/** An address, or its first `length` bytes. */
export function address(side: "saddr" | "daddr", family: Family, length: number = ADDRESS_LENGTH[family]): Selector {
  return payload(`${PROTOCOL[family]} ${side}`, "network", ADDRESS_OFFSET[side][family], length);
}

/** The source port, which has the same offset in TCP, UDP and SCTP. */
export const sourcePort = payload("th sport", "transport", 0, 2);

/** The destination port, which has the same offset in TCP, UDP and SCTP. */
export const destinationPort = payload("th dport", "transport", 2, 2);

/** The flags of TCP from CWR to FIN. */
export const tcpFlags = payload("tcp flags", "transport", 13, 1);

/** The VNI, after the UDP header of 8 bytes and 4 bytes of flags and reserved bits (RFC 7348 section 5). */
export const vxlanIdentifier = payload("@th,96,24", "transport", 12, 3);

/** The source address of the Ethernet frame (IEEE 802.3: destination, source, type). */
export const etherSource = payload("ether saddr", "link", 6, 6);

/** The EtherType, which is that of the VLAN tag (0x8100, 0x88a8) in a tagged frame. */
export const etherType = payload("ether type", "link", 12, 2);

/** The operation and the sender of an ARP packet (RFC 826) for IPv4 over Ethernet. */
export const arpOperation = payload("arp operation", "network", 6, 2);
export const arpSenderMac = payload("arp saddr ether", "network", 8, 6);
export const arpSenderAddress = payload("arp saddr ip", "network", 14, 4);

export const hopLimit = payload("ip6 hoplimit", "network", 7, 1);
export const icmpv6Type = payload("icmpv6 type", "transport", 0, 1);

/** The target of an ICMPv6 neighbour solicitation or advertisement (RFC 4861). nft 1.0.6 has no name for it. */
export const neighbourTarget = payload("@th,64,128", "transport", 8, 16);

/** The protocol of the network layer. Inside a VLAN tag, it is that of the tagged packet. */
export const etherProtocol = meta("meta protocol", "protocol", 2);

export const transportProtocol = meta("meta l4proto", "l4proto", 1);
/** NFPROTO_IPV4 or NFPROTO_IPV6. */
export const networkProtocol = meta("meta nfproto", "nfproto", 1);
export const packetMark = meta("meta mark", "mark", 4);
/** The packet's priority. Until the packet leaves through a device, it can store any 32-bit number. */
export const packetPriority = meta("meta priority", "packetPriority", 4);
export const inputIndex = meta("iif", "iif", 4);

export function interfaceName(side: "iifname" | "oifname"): Selector {
  return meta(side, side, 16);
}

/** The route type of the destination: RTN_LOCAL for the node's own addresses. */
export const destinationType: Selector = {
  text: "fib daddr type",
  length: 4,
  load: (register) => ({
    kind: "fib",
    data: { dreg: register, result: NFT_FIB_RESULT.addrtype, flags: NFT_FIB_FLAG.daddr },
  }),
};

/** The route type of the source. */
export const sourceType: Selector = {
  text: "fib saddr type",
  length: 4,
  load: (register) => ({
    kind: "fib",
    data: { dreg: register, result: NFT_FIB_RESULT.addrtype, flags: NFT_FIB_FLAG.saddr },
  }),
};

/** A random number in [0, modulus), new for each packet. */
export function randomBelow(modulus: number): Selector {
  return {
    text: `numgen random mod ${modulus}`,
    length: 4,
    load: (register) => ({ kind: "numgen", data: { dreg: register, modulus, type: NFT_NG_RANDOM, offset: 0 } }),
  };
}

/** The destination of the connection's first packet before translation. */
export function originalDestination(family: Family): Selector {
  const key = family === 4 ? NFT_CT.destinationIpv4 : NFT_CT.destinationIpv6;
  return original(`${PROTOCOL[family]} daddr`, key, ADDRESS_LENGTH[family]);
}

/** nft 1.0.6 can decode it only after a match on the protocol (`meta l4proto tcp`). */
export const originalDestinationPort = original("proto-dst", NFT_CT.protocolDestination, 2);

function original(text: string, key: number, length: number): Selector {
  return {
    text: `ct original ${text}`,
    length,
    load: (register) => ({ kind: "ct", data: { dreg: register, key, direction: CT_DIRECTION_ORIGINAL } }),
  };
}

function payload(text: string, base: keyof typeof NFT_PAYLOAD_BASE, offset: number, length: number): Selector {
  return {
    text,
    length,
    load: (register) => ({ kind: "payload", data: { dreg: register, base: NFT_PAYLOAD_BASE[base], offset, length } }),
  };
}

function meta(text: string, key: keyof typeof NFT_META, length: number): Selector {
  return { text, length, load: (register) => ({ kind: "meta", data: { dreg: register, key: NFT_META[key] } }) };
}

/** Loads a row of values: nft's concatenation. The row starts `offset` bytes after the start of r1. */
export function loadRow(selectors: readonly Selector[], offset = 0): Expression[] {
  let at = offset;
  return selectors.map((selector) => {
    const expression = selector.load(registerAt(at));
    at += Math.ceil(selector.length / REGISTER_LENGTH) * REGISTER_LENGTH;
    return expression;
  });
}

/** The length of a row in bytes; each value is padded to 4-byte registers. */
export function rowLength(selectors: readonly Selector[]): number {
  return selectors.reduce((sum, { length }) => sum + Math.ceil(length / REGISTER_LENGTH) * REGISTER_LENGTH, 0);
}

export function rowText(selectors: readonly Selector[]): string {
  return selectors.map(({ text }) => text).join(" . ");
}

/**
 * The register at `offset` bytes after the start of r1: a 16-byte register if one starts there, otherwise a 4-byte one.
 */
export function registerAt(offset: number): number {
  const word = offset / REGISTER_LENGTH;
  return word % 4 === 0 ? NFT_REG.r1 + word / 4 : NFT_REG32_00 + word;
}
