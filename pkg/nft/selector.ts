/** What rules look at in a packet, each as nft names it, and how it comes into the kernel's registers. */
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
  /** In bytes; a row of selectors fills whole registers of four. */
  readonly length: number;
  load(register: number): Expression;
}

const REGISTER_LENGTH = 4;

/** Where the addresses stand in the header, in bytes from its start (RFC 791 section 3.1, RFC 8200 section 3). */
const ADDRESS_OFFSET = { saddr: { 4: 12, 6: 8 }, daddr: { 4: 16, 6: 24 } } as const;
const ADDRESS_LENGTH = { 4: 4, 6: 16 } as const;
const PROTOCOL = { 4: "ip", 6: "ip6" } as const;

/** An address, or its first `length` bytes. */
export function address(side: "saddr" | "daddr", family: Family, length: number = ADDRESS_LENGTH[family]): Selector {
  return payload(`${PROTOCOL[family]} ${side}`, "network", ADDRESS_OFFSET[side][family], length);
}

/** The port that TCP, UDP and SCTP have at the same place. */
export const destinationPort = payload("th dport", "transport", 2, 2);

/** Behind the UDP header of 8 bytes: flags and reserved bits of 4 bytes, then the VNI (RFC 7348 section 5). */
export const vxlanIdentifier = payload("@th,96,24", "transport", 12, 3);

/** Of the Ethernet frame (IEEE 802.3: destination, source, type). */
export const etherSource = payload("ether saddr", "link", 6, 6);

export const transportProtocol = meta("meta l4proto", "l4proto", 1);
/** NFPROTO_IPV4 or NFPROTO_IPV6. */
export const networkProtocol = meta("meta nfproto", "nfproto", 1);
export const packetMark = meta("meta mark", "mark", 4);
/** The packet's priority: until it leaves by a device, room for a number of 32 bits. */
export const packetPriority = meta("meta priority", "packetPriority", 4);
export const inputIndex = meta("iif", "iif", 4);

export function interfaceName(side: "iifname" | "oifname"): Selector {
  return meta(side, side, 16);
}

/** What the routing tables say of the destination: RTN_LOCAL for the node's own addresses. */
export const destinationType: Selector = {
  text: "fib daddr type",
  length: 4,
  load: (register) => ({
    kind: "fib",
    data: { dreg: register, result: NFT_FIB_RESULT.addrtype, flags: NFT_FIB_FLAG.daddr },
  }),
};

/** The same of the source. */
export const sourceType: Selector = {
  text: "fib saddr type",
  length: 4,
  load: (register) => ({
    kind: "fib",
    data: { dreg: register, result: NFT_FIB_RESULT.addrtype, flags: NFT_FIB_FLAG.saddr },
  }),
};

/** A number from 0 on, below `modulus`, drawn anew for each packet. */
export function randomBelow(modulus: number): Selector {
  return {
    text: `numgen random mod ${modulus}`,
    length: 4,
    load: (register) => ({ kind: "numgen", data: { dreg: register, modulus, type: NFT_NG_RANDOM, offset: 0 } }),
  };
}

/** Where the connection's first packet was sent to, before translation. */
export function originalDestination(family: Family): Selector {
  const key = family === 4 ? NFT_CT.destinationIpv4 : NFT_CT.destinationIpv6;
  return original(`${PROTOCOL[family]} daddr`, key, ADDRESS_LENGTH[family]);
}

/** nft 1.0.6 reads it only behind a match of the protocol (`meta l4proto tcp`). */
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

/** Several values side by side: nft's concatenation. They begin `offset` bytes behind r1's first byte. */
export function loadRow(selectors: readonly Selector[], offset = 0): Expression[] {
  let at = offset;
  return selectors.map((selector) => {
    const expression = selector.load(registerAt(at));
    at += Math.ceil(selector.length / REGISTER_LENGTH) * REGISTER_LENGTH;
    return expression;
  });
}

/** In bytes: each value fills whole registers of four. */
export function rowLength(selectors: readonly Selector[]): number {
  return selectors.reduce((sum, { length }) => sum + Math.ceil(length / REGISTER_LENGTH) * REGISTER_LENGTH, 0);
}

export function rowText(selectors: readonly Selector[]): string {
  return selectors.map(({ text }) => text).join(" . ");
}

/** The register of a row that holds what stands `offset` bytes behind r1's first: a 16-byte one where one begins. */
export function registerAt(offset: number): number {
  const word = offset / REGISTER_LENGTH;
  return word % 4 === 0 ? NFT_REG.r1 + word / 4 : NFT_REG32_00 + word;
}
