/**
 * Statements of nf_tables rules: the kernel's expressions, each beside the nft text that means the same. The registers
 * are chosen as nft chooses them, so that nft recognises what it reads back.
 */
import { type Address, addressBits, addressToBytes, type Family, formatAddress } from "../ip/address.ts";
import { formatPrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import {
  type Expression,
  NF_NAT_RANGE,
  NFPROTO,
  NFT_CMP,
  NFT_CT,
  NFT_LOOKUP_F_INV,
  NFT_META,
  NFT_NAT,
  NFT_REG,
  NFT_REJECT_ICMPX,
  VERDICT,
} from "../netlink/nftables.ts";
import { RTN_LOCAL } from "../netlink/route.ts";
import {
  address,
  destinationPort,
  destinationType,
  inputIndex,
  interfaceName,
  loadRow,
  networkProtocol,
  packetMark,
  registerAt,
  rowText,
  type Selector,
  sourceType,
  transportProtocol,
  vxlanIdentifier,
} from "./selector.ts";

/** A part of a rule: a match that lets the rule go on, or what is done then. */
export interface Statement {
  readonly text: string;
  readonly expressions: readonly Expression[];
}

export interface MatchOptions {
  /** Matches what is not in the set. */
  readonly invert?: boolean;
}

const FAMILY_NUMBER = { 4: NFPROTO.ip, 6: NFPROTO.ip6 } as const;
const FAMILY_NAME = { 4: "ip", 6: "ip6" } as const;

/** In tables of family inet, what looks into an IP header needs this before it. */
export function matchFamily(family: Family): Statement {
  return matchEqual(networkProtocol, Uint8Array.of(FAMILY_NUMBER[family]), `ipv${family}`);
}

/** What the packet has of `selectors`, in a set of such rows. */
export function matchInSet(
  selectors: readonly Selector[],
  set: string,
  { invert = false }: MatchOptions = {},
): Statement {
  return {
    text: `${rowText(selectors)} ${invert ? "!= " : ""}@${set}`,
    expressions: [
      ...loadRow(selectors),
      { kind: "lookup", data: { set, sreg: NFT_REG.r1, flags: invert ? NFT_LOOKUP_F_INV : 0 } },
    ],
  };
}

export function matchSourceInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  return matchInSet([address("saddr", family)], set, options);
}

export function matchDestinationInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  return matchInSet([address("daddr", family)], set, options);
}

export function matchInterfaceInSet(side: "iifname" | "oifname", set: string, options: MatchOptions = {}): Statement {
  return matchInSet([interfaceName(side)], set, options);
}

/** The interfaces that a packet comes from and goes to, in a set of such pairs. */
export function matchInterfacesInSet(set: string, options: MatchOptions = {}): Statement {
  return matchInSet([interfaceName("iifname"), interfaceName("oifname")], set, options);
}

/** Source and destination together, in a set of such pairs. */
export function matchPairInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  return matchInSet([address("saddr", family), address("daddr", family)], set, options);
}

/** One single source or destination. */
export function matchAddress(side: "saddr" | "daddr", single: Address): Statement {
  return matchEqual(address(side, single.family), addressToBytes(single), formatAddress(single));
}

/** Sources or destinations within a network, or outside of it. */
export function matchPrefix(side: "saddr" | "daddr", prefix: Prefix, { invert = false }: MatchOptions = {}): Statement {
  const { family } = prefix.address;
  const network = addressToBytes(networkOf(prefix).address);
  const bytes = prefix.length / 8;
  // A prefix of whole bytes is compared without a mask.
  const isWhole = Number.isInteger(bytes);
  const selector = address(side, family, isWhole ? bytes : undefined);
  const mask = ((1n << BigInt(prefix.length)) - 1n) << BigInt(addressBits(family) - prefix.length);
  return {
    text: `${selector.text} ${invert ? "!= " : ""}${formatPrefix(prefix)}`,
    expressions: [
      selector.load(NFT_REG.r1),
      ...(isWhole ? [] : [bitwise(addressToBytes({ family, value: mask }))]),
      compare(invert ? NFT_CMP.neq : NFT_CMP.eq, isWhole ? network.subarray(0, bytes) : network),
    ],
  };
}

/** 224.0.0.0/4 (RFC 5771) and ff00::/8 (RFC 4291 section 2.7). */
const MULTICAST = {
  4: { address: { family: 4, value: 0xe000_0000n }, length: 4 },
  6: { address: { family: 6, value: 0xffn << 120n }, length: 8 },
} as const;

export function matchNotMulticast(family: Family): Statement {
  return matchPrefix("daddr", MULTICAST[family], { invert: true });
}

/** IPPROTO_UDP */
const UDP = 17;

/** Packets of one transport protocol. */
export function matchProtocol(protocol: 6 | 17 | 132): Statement {
  return matchEqual(transportProtocol, Uint8Array.of(protocol), { 6: "tcp", 17: "udp", 132: "sctp" }[protocol]);
}

/** VXLAN packets of one network: whoever else has the port has another VNI. */
export function matchVxlan({ port, vni }: { readonly port: number; readonly vni: number }): Statement {
  const parts = [
    matchEqual(transportProtocol, Uint8Array.of(UDP), "udp"),
    matchEqual(destinationPort, Uint8Array.of(port >> 8, port & 0xff), String(port)),
    matchEqual(vxlanIdentifier, Uint8Array.of(vni >> 16, (vni >> 8) & 0xff, vni & 0xff), String(vni)),
  ];
  return {
    text: parts.map(({ text }) => text).join(" "),
    expressions: parts.flatMap(({ expressions }) => expressions),
  };
}

/** Replies, and connections that belong to others, as conntrack knows them (IP_CT_ESTABLISHED, IP_CT_RELATED). */
export const matchEstablished: Statement = {
  text: "ct state established,related",
  expressions: matchBits(NFT_CT.state, 0b110),
};

/** Connections whose destination was translated (IPS_DST_NAT). */
export const matchTranslatedDestination: Statement = {
  text: "ct status dnat",
  expressions: matchBits(NFT_CT.status, 1 << 5),
};

/** Any of `bits` in what conntrack says under `key`. */
function matchBits(key: number, bits: number): Expression[] {
  return [
    { kind: "ct", data: { dreg: NFT_REG.r1, key } },
    bitwise(hostOrder(bits)),
    compare(NFT_CMP.neq, hostOrder(0)),
  ];
}

/** The first packets of connections (NF_CT_STATE_BIT of IP_CT_NEW). */
export const matchNew: Statement = { text: "ct state new", expressions: matchBits(NFT_CT.state, 1 << 3) };

/** Destinations that are the node's own addresses. */
export const matchLocalDestination = matchEqual(destinationType, hostOrder(RTN_LOCAL), "local");

/** Sources that are the node's own addresses. */
export const matchLocalSource = matchEqual(sourceType, hostOrder(RTN_LOCAL), "local");

/** lo has the same index in every namespace (LOOPBACK_IFINDEX). */
const LOOPBACK_INDEX = 1;

export const matchNotFromLoopback: Statement = {
  text: 'iif != "lo"',
  expressions: [inputIndex.load(NFT_REG.r1), compare(NFT_CMP.neq, hostOrder(LOOPBACK_INDEX))],
};

/** Packets whose mark has all of `bits`. */
export function matchMark(bits: number): Statement {
  return {
    text: `meta mark & ${hexadecimal(bits)} == ${hexadecimal(bits)}`,
    expressions: [packetMark.load(NFT_REG.r1), bitwise(hostOrder(bits)), compare(NFT_CMP.eq, hostOrder(bits))],
  };
}

/** Packets whose mark has any of `bits`. */
export function matchAnyMark(bits: number): Statement {
  return {
    text: `meta mark & ${hexadecimal(bits)} != ${hexadecimal(0)}`,
    expressions: [packetMark.load(NFT_REG.r1), bitwise(hostOrder(bits)), compare(NFT_CMP.neq, hostOrder(0))],
  };
}

/** Turns `bits` of a packet's mark over and leaves its other bits alone. */
export function flipMark(bits: number): Statement {
  return {
    text: `meta mark set meta mark ^ ${hexadecimal(bits)}`,
    expressions: [
      packetMark.load(NFT_REG.r1),
      bitwise(hostOrder(~0), hostOrder(bits)),
      { kind: "meta", data: { key: NFT_META.mark, sreg: NFT_REG.r1 } },
    ],
  };
}

/** Adds `bits` to a packet's mark and leaves its other bits alone. */
export function setMark(bits: number): Statement {
  return {
    text: `meta mark set meta mark | ${hexadecimal(bits)}`,
    expressions: [
      packetMark.load(NFT_REG.r1),
      bitwise(hostOrder(~bits), hostOrder(bits)),
      { kind: "meta", data: { key: NFT_META.mark, sreg: NFT_REG.r1 } },
    ],
  };
}

/** Goes where the map of verdicts says, for what the packet has of `selectors`; goes on where it has no such key. */
export function verdictByMap(selectors: readonly Selector[], map: string): Statement {
  return {
    text: `${rowText(selectors)} vmap @${map}`,
    expressions: [
      ...loadRow(selectors),
      { kind: "lookup", data: { set: map, sreg: NFT_REG.r1, dreg: NFT_REG.verdict, flags: 0 } },
    ],
  };
}

/** The destination becomes the address and port that the map holds; goes on where it has no such key. */
export function destinationByMap(family: Family, selectors: readonly Selector[], map: string): Statement {
  const [addressRegister, portRegister] = [registerAt(0), registerAt(addressBits(family) / 8)];
  return {
    text: `dnat ${FAMILY_NAME[family]} to ${rowText(selectors)} map @${map}`,
    expressions: [
      ...loadRow(selectors),
      { kind: "lookup", data: { set: map, sreg: NFT_REG.r1, dreg: NFT_REG.r1, flags: 0 } },
      {
        kind: "nat",
        data: {
          ...{ type: NFT_NAT.dnat, family: FAMILY_NUMBER[family] },
          ...{ addressMin: addressRegister, addressMax: addressRegister },
          ...{ portMin: portRegister, portMax: portRegister },
          flags: NF_NAT_RANGE.mapIps | NF_NAT_RANGE.protoSpecified,
        },
      },
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
        expressions: [{ kind: "masq", data: { flags: NF_NAT_RANGE.randomFully } }],
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
/** Goes through `chain`, and comes back to where this chain would end. */
export function goto(chain: string): Statement {
  return { text: `goto ${chain}`, expressions: [verdict(VERDICT.goto, chain)] };
}
/** Refused with "port unreachable" of ICMP or ICMPv6. */
export const reject: Statement = {
  text: "reject",
  expressions: [
    { kind: "reject", data: { type: NFT_REJECT_ICMPX.unreachable, code: NFT_REJECT_ICMPX.portUnreachable } },
  ],
};
/** Back to the calling chain; at the end of a base chain, to its policy. */
export const returnToCaller: Statement = { text: "return", expressions: [verdict(VERDICT.return)] };

function matchEqual(selector: Selector, value: Uint8Array, valueText: string): Statement {
  return {
    text: `${selector.text} ${valueText}`,
    expressions: [selector.load(NFT_REG.r1), compare(NFT_CMP.eq, value)],
  };
}

function compare(op: number, value: Uint8Array): Expression {
  return { kind: "cmp", data: { sreg: NFT_REG.r1, op, data: { value } } };
}

/** r1 becomes what `mask` leaves of it, exclusive-or `xor`. */
function bitwise(mask: Uint8Array, xor: Uint8Array = new Uint8Array(mask.length)): Expression {
  return {
    kind: "bitwise",
    data: {
      ...{ sreg: NFT_REG.r1, dreg: NFT_REG.r1, length: mask.length },
      ...{ mask: { value: mask }, xor: { value: xor } },
    },
  };
}

/** Numbers that are no part of the packet stand in registers in the machine's own order. */
export function hostOrder(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
  return bytes;
}

export function hexadecimal(bits: number): string {
  return `0x${(bits >>> 0).toString(16).padStart(8, "0")}`;
}

/** Codes below zero travel as two's complement. */
function verdict(code: number, chain?: string): Expression {
  const to = chain === undefined ? {} : { chain };
  return { kind: "immediate", data: { dreg: NFT_REG.verdict, data: { verdict: { code: code >>> 0, ...to } } } };
}
