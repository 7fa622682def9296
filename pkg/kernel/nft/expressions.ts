/**
 * Statements of nf_tables rules: the kernel's expressions, each beside the nft text that means the same. The registers
 * are chosen as nft chooses them, so that nft recognises what it reads back.
 */
import { type Address, addressToBytes, type Family, formatAddress } from "../../ip/address.ts";
import {
  type Expression,
  NF_NAT_RANGE_RANDOM_FULLY,
  NFPROTO,
  NFT_CMP,
  NFT_CT,
  NFT_LOOKUP_F_INV,
  NFT_META,
  NFT_PAYLOAD_BASE,
  NFT_REG,
  NFT_REG32_01,
  VERDICT,
} from "../../netlink/nftables.ts";

/** A part of a rule: a match that lets the rule go on, or what is done then. */
export interface Statement {
  readonly text: string;
  readonly expressions: readonly Expression[];
}

export interface MatchOptions {
  /** Matches what is not in the set. */
  readonly invert?: boolean;
}

/** Where the addresses stand in the header, in bytes from its start (RFC 791 section 3.1, RFC 8200 section 3). */
const SOURCE_OFFSET = { 4: 12, 6: 8 } as const;
const DESTINATION_OFFSET = { 4: 16, 6: 24 } as const;
const ADDRESS_LENGTH = { 4: 4, 6: 16 } as const;
const PROTOCOL = { 4: "ip", 6: "ip6" } as const;

/** In tables of family inet, what looks into an IP header needs this before it. */
export function matchFamily(family: Family): Statement {
  return {
    text: `meta nfproto ipv${family}`,
    expressions: [
      loadMeta(NFT_REG.r1, NFT_META.nfproto),
      compare(NFT_CMP.eq, Uint8Array.of(family === 4 ? NFPROTO.ip : NFPROTO.ip6)),
    ],
  };
}

export function matchSourceInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  return {
    text: `${PROTOCOL[family]} saddr ${setReference(set, options)}`,
    expressions: [load(NFT_REG.r1, SOURCE_OFFSET[family], ADDRESS_LENGTH[family]), lookup(set, options)],
  };
}

export function matchDestinationInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  return {
    text: `${PROTOCOL[family]} daddr ${setReference(set, options)}`,
    expressions: [load(NFT_REG.r1, DESTINATION_OFFSET[family], ADDRESS_LENGTH[family]), lookup(set, options)],
  };
}

/** One single source or destination. */
export function matchAddress(side: "saddr" | "daddr", address: Address): Statement {
  const { family } = address;
  const offset = (side === "saddr" ? SOURCE_OFFSET : DESTINATION_OFFSET)[family];
  return {
    text: `${PROTOCOL[family]} ${side} ${formatAddress(address)}`,
    expressions: [load(NFT_REG.r1, offset, ADDRESS_LENGTH[family]), compare(NFT_CMP.eq, addressToBytes(address))],
  };
}

/** Replies, and connections that belong to others, as conntrack knows them (IP_CT_ESTABLISHED, IP_CT_RELATED). */
export const matchEstablished: Statement = {
  text: "ct state established,related",
  expressions: [
    { kind: "ct", data: { dreg: NFT_REG.r1, key: NFT_CT.state } },
    {
      kind: "bitwise",
      data: {
        sreg: NFT_REG.r1,
        dreg: NFT_REG.r1,
        length: 4,
        // NF_CT_STATE_BIT: in host byte order, as the register is.
        mask: { value: Uint8Array.of(0b110, 0, 0, 0) },
        xor: { value: new Uint8Array(4) },
      },
    },
    compare(NFT_CMP.neq, new Uint8Array(4)),
  ],
};

export function matchInterfaceInSet(side: "iifname" | "oifname", set: string, options: MatchOptions = {}): Statement {
  return {
    text: `${side} ${setReference(set, options)}`,
    expressions: [loadMeta(NFT_REG.r1, NFT_META[side]), lookup(set, options)],
  };
}

/** The interfaces that a packet comes from and goes to, in a set of such pairs. */
export function matchInterfacesInSet(set: string, options: MatchOptions = {}): Statement {
  return {
    text: `iifname . oifname ${setReference(set, options)}`,
    expressions: [loadMeta(NFT_REG.r1, NFT_META.iifname), loadMeta(NFT_REG.r2, NFT_META.oifname), lookup(set, options)],
  };
}

/** Source and destination together, in a set of such pairs. */
export function matchPairInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  const length = ADDRESS_LENGTH[family];
  return {
    text: `${PROTOCOL[family]} saddr . ${PROTOCOL[family]} daddr ${setReference(set, options)}`,
    expressions: [
      load(NFT_REG.r1, SOURCE_OFFSET[family], length),
      load(family === 4 ? NFT_REG32_01 : NFT_REG.r2, DESTINATION_OFFSET[family], length),
      lookup(set, options),
    ],
  };
}

/** Destinations outside 224.0.0.0/4 (RFC 5771) and ff00::/8 (RFC 4291 section 2.7). */
export function matchNotMulticast(family: Family): Statement {
  if (family === 6) {
    // A prefix of whole bytes is compared without a mask.
    return {
      text: "ip6 daddr != ff00::/8",
      expressions: [load(NFT_REG.r1, DESTINATION_OFFSET[6], 1), compare(NFT_CMP.neq, Uint8Array.of(0xff))],
    };
  }
  return {
    text: "ip daddr != 224.0.0.0/4",
    expressions: [
      load(NFT_REG.r1, DESTINATION_OFFSET[4], ADDRESS_LENGTH[4]),
      {
        kind: "bitwise",
        data: {
          sreg: NFT_REG.r1,
          dreg: NFT_REG.r1,
          length: ADDRESS_LENGTH[4],
          mask: { value: Uint8Array.of(0xf0, 0, 0, 0) },
          xor: { value: new Uint8Array(4) },
        },
      },
      compare(NFT_CMP.neq, Uint8Array.of(224, 0, 0, 0)),
    ],
  };
}

/**
 * The source becomes the address of the interface that the packet leaves by. With `fullyRandom` the port is drawn at
 * random: two connections that start at once rarely draw the same one, which would cost one of them its first packet.
 */
export function masquerade({ fullyRandom }: { readonly fullyRandom: boolean }): Statement {
  return fullyRandom
    ? {
        text: "masquerade fully-random",
        expressions: [{ kind: "masq", data: { flags: NF_NAT_RANGE_RANDOM_FULLY } }],
      }
    : { text: "masquerade", expressions: [{ kind: "masq", data: {} }] };
}

/** Packets and bytes that came this far. */
export const counter: Statement = { text: "counter", expressions: [{ kind: "counter", data: {} }] };
export const accept: Statement = { text: "accept", expressions: [verdict(VERDICT.accept)] };
export const drop: Statement = { text: "drop", expressions: [verdict(VERDICT.drop)] };
/** Goes through `chain`, and comes back at its end. */
export function jump(chain: string): Statement {
  return { text: `jump ${chain}`, expressions: [verdict(VERDICT.jump, chain)] };
}
/** Back to the calling chain; at the end of a base chain, to its policy. */
export const returnToCaller: Statement = { text: "return", expressions: [verdict(VERDICT.return)] };

function setReference(set: string, { invert = false }: MatchOptions): string {
  return invert ? `!= @${set}` : `@${set}`;
}

function loadMeta(register: number, key: number): Expression {
  return { kind: "meta", data: { dreg: register, key } };
}

function load(register: number, offset: number, length: number): Expression {
  return { kind: "payload", data: { dreg: register, base: NFT_PAYLOAD_BASE.network, offset, length } };
}

function lookup(set: string, { invert = false }: MatchOptions): Expression {
  return { kind: "lookup", data: { set, sreg: NFT_REG.r1, flags: invert ? NFT_LOOKUP_F_INV : 0 } };
}

function compare(op: number, value: Uint8Array): Expression {
  return { kind: "cmp", data: { sreg: NFT_REG.r1, op, data: { value } } };
}

/** Codes below zero travel as two's complement. */
function verdict(code: number, chain?: string): Expression {
  const to = chain === undefined ? {} : { chain };
  return { kind: "immediate", data: { dreg: NFT_REG.verdict, data: { verdict: { code: code >>> 0, ...to } } } };
}
