/**
 * Statements of nf_tables rules: the kernel's expressions, together with the equivalent nft text. The registers are
 * those that nft would choose, so that nft can decode the rules.
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
  NFT_REJECT_TCP_RESET,
  VERDICT,
} from "../netlink/nftables.ts";
import { RTN_LOCAL } from "../netlink/route.ts";
import {
  address,
  destinationPort,
  destinationType,
  icmpv6Type,
  inputIndex,
  interfaceName,
  loadRow,
  networkProtocol,
  packetMark,
  registerAt,
  rowText,
  type Selector,
  sourceType,
  tcpFlags,
  transportProtocol,
  vxlanIdentifier,
} from "./selector.ts";

/** A part of a rule: a match, which ends the rule if it fails, or an action. */
export interface Statement {
  readonly text: string;
  readonly expressions: readonly Expression[];
}

export interface MatchOptions {
  /** Match if the value is not in the set. */
  readonly invert?: boolean;
}

const FAMILY_NUMBER = { 4: NFPROTO.ip, 6: NFPROTO.ip6 } as const;
const FAMILY_NAME = { 4: "ip", 6: "ip6" } as const;

/** In tables of family inet, a match on an IP header requires this match before it. */
export function matchFamily(family: Family): Statement {
  return matchEqual(networkProtocol, Uint8Array.of(FAMILY_NUMBER[family]), `ipv${family}`);
}

/** IPPROTO_ICMPV6 */
const ICMPV6 = 58;

export const matchIcmpv6 = matchEqual(transportProtocol, Uint8Array.of(ICMPV6), "ipv6-icmp");

/** Matches if all `parts` match. */
export function matchAll(...parts: readonly Statement[]): Statement {
  return {
    text: parts.map(({ text }) => text).join(" "),
    expressions: parts.flatMap(({ expressions }) => expressions),
  };
}

export function bigEndian(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

/** Matches if the row of `selectors` is in the set. */
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

/** Matches the pair of input and output interface. */
export function matchInterfacesInSet(set: string, options: MatchOptions = {}): Statement {
  return matchInSet([interfaceName("iifname"), interfaceName("oifname")], set, options);
}

/** Matches the pair of source and destination. */
export function matchPairInSet(family: Family, set: string, options: MatchOptions = {}): Statement {
  return matchInSet([address("saddr", family), address("daddr", family)], set, options);
}

/** Matches one source or destination address. */
export function matchAddress(side: "saddr" | "daddr", single: Address): Statement {
  return matchEqual(address(side, single.family), addressToBytes(single), formatAddress(single));
}

/** Matches sources or destinations inside a network; with `invert`, outside it. */
export function matchPrefix(side: "saddr" | "daddr", prefix: Prefix, { invert = false }: MatchOptions = {}): Statement {
  const { family } = prefix.address;
  const network = addressToBytes(networkOf(prefix).address);
  const bytes = prefix.length / 8;
  // The kernel compares a prefix of full bytes without a mask.
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

/** Matches packets of one transport protocol. */
export function matchProtocol(protocol: 6 | 17 | 132): Statement {
  return matchEqual(transportProtocol, Uint8Array.of(protocol), { 6: "tcp", 17: "udp", 132: "sctp" }[protocol]);
}

/** Matches VXLAN packets of one network. Other programs' networks on the same port have other VNIs. */
export function matchVxlan({ port, vni }: { readonly port: number; readonly vni: number }): Statement {
  return matchAll(
    matchEqual(transportProtocol, Uint8Array.of(UDP), "udp"),
    matchEqual(destinationPort, bigEndian(port), String(port)),
    matchEqual(vxlanIdentifier, Uint8Array.of(vni >> 16, (vni >> 8) & 0xff, vni & 0xff), String(vni)),
  );
}

/** The first and last type of RFC 4861: router solicitation and redirect. */
const NEIGHBOUR_DISCOVERY = { first: 133, last: 137 } as const;

/** Matches messages of neighbour discovery. */
export const matchNeighbourDiscovery: Statement = {
  text: `icmpv6 type ${NEIGHBOUR_DISCOVERY.first}-${NEIGHBOUR_DISCOVERY.last}`,
  expressions: [
    ...matchFamily(6).expressions,
    ...matchIcmpv6.expressions,
    icmpv6Type.load(NFT_REG.r1),
    compare(NFT_CMP.gte, Uint8Array.of(NEIGHBOUR_DISCOVERY.first)),
    compare(NFT_CMP.lte, Uint8Array.of(NEIGHBOUR_DISCOVERY.last)),
  ],
};

/** Matches replies and related connections, according to conntrack (IP_CT_ESTABLISHED, IP_CT_RELATED). */
export const matchEstablished: Statement = {
  text: "ct state established,related",
  expressions: matchBits(NFT_CT.state, 0b110),
};

/** Matches connections with a translated destination (IPS_DST_NAT). */
export const matchTranslatedDestination: Statement = {
  text: "ct status dnat",
  expressions: matchBits(NFT_CT.status, 1 << 5),
};

/** Matches if conntrack's value of `key` has any of `bits`. */
function matchBits(key: number, bits: number): Expression[] {
  return [
    { kind: "ct", data: { dreg: NFT_REG.r1, key } },
    bitwise(hostOrder(bits)),
    compare(NFT_CMP.neq, hostOrder(0)),
  ];
}

/** Matches the first packet of a connection (NF_CT_STATE_BIT of IP_CT_NEW). */
export const matchNew: Statement = { text: "ct state new", expressions: matchBits(NFT_CT.state, 1 << 3) };

/** Matches packets without an entry of connection tracking before them (IP_CT_NEW), or without any (invalid). */
export const matchNewOrInvalid: Statement = {
  text: "ct state invalid,new",
  expressions: matchBits(NFT_CT.state, (1 << 3) | 1),
};

/** Matches TCP packets that have none of these flags (the bits of octet 13 of the header, RFC 9293 section 3.1). */
export function matchTcpWithout(flags: number): Statement {
  return {
    text: `tcp flags & ${hexadecimal(flags)} == 0`,
    expressions: [tcpFlags.load(NFT_REG.r1), bitwise(Uint8Array.of(flags)), compare(NFT_CMP.eq, Uint8Array.of(0))],
  };
}

/** Matches destinations that are the node's own addresses. */
export const matchLocalDestination = matchEqual(destinationType, hostOrder(RTN_LOCAL), "local");

/** Matches sources that are the node's own addresses. */
export const matchLocalSource = matchEqual(sourceType, hostOrder(RTN_LOCAL), "local");

/** The index of lo in every namespace (LOOPBACK_IFINDEX). */
const LOOPBACK_INDEX = 1;

export const matchNotFromLoopback: Statement = {
  text: 'iif != "lo"',
  expressions: [inputIndex.load(NFT_REG.r1), compare(NFT_CMP.neq, hostOrder(LOOPBACK_INDEX))],
};

/** Matches packets whose mark has all of `bits`. */
export function matchMark(bits: number): Statement {
  return {
    text: `meta mark & ${hexadecimal(bits)} == ${hexadecimal(bits)}`,
    expressions: [packetMark.load(NFT_REG.r1), bitwise(hostOrder(bits)), compare(NFT_CMP.eq, hostOrder(bits))],
  };
}

/** Matches packets whose mark has any of `bits`. */
export function matchAnyMark(bits: number): Statement {
  return {
    text: `meta mark & ${hexadecimal(bits)} != ${hexadecimal(0)}`,
    expressions: [packetMark.load(NFT_REG.r1), bitwise(hostOrder(bits)), compare(NFT_CMP.neq, hostOrder(0))],
  };
}

/** Inverts `bits` of the packet's mark, and keeps its other bits. */
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

/** Sets `bits` of the packet's mark, and keeps its other bits. */
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

/** Applies the verdict that the map has for the row of `selectors`. The rule ends if the map has no such key. */
export function verdictByMap(selectors: readonly Selector[], map: string): Statement {
  return {
    text: `${rowText(selectors)} vmap @${map}`,
    expressions: [
      ...loadRow(selectors),
      { kind: "lookup", data: { set: map, sreg: NFT_REG.r1, dreg: NFT_REG.verdict, flags: 0 } },
    ],
  };
}

/**
 * Translates the destination to the address and port that the map has for the row of `selectors`. The rule ends if the
 * map has no such key.
 */
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
 * Translates the source to the address of the output interface. With `fullyRandom` the port is random: two connections
 * that start at the same time rarely get the same port, which would cost one of them its first packet.
 */
export function masquerade({ fullyRandom }: { readonly fullyRandom: boolean }): Statement {
  return fullyRandom
    ? {
        text: "masquerade fully-random",
        expressions: [{ kind: "masq", data: { flags: NF_NAT_RANGE.randomFully } }],
      }
    : { text: "masquerade", expressions: [{ kind: "masq", data: {} }] };
}

/** Counts the packets and bytes that reach the statement. */
export const counter: Statement = { text: "counter", expressions: [{ kind: "counter", data: {} }] };
export const accept: Statement = { text: "accept", expressions: [verdict(VERDICT.accept)] };
export const drop: Statement = { text: "drop", expressions: [verdict(VERDICT.drop)] };
/** Evaluates `chain` and returns after its last rule. */
export function jump(chain: string): Statement {
  return { text: `jump ${chain}`, expressions: [verdict(VERDICT.jump, chain)] };
}
/** Evaluates `chain` without returning to this chain. */
export function goto(chain: string): Statement {
  return { text: `goto ${chain}`, expressions: [verdict(VERDICT.goto, chain)] };
}
/** Rejects the packet with "port unreachable" of ICMP or ICMPv6. */
export const reject: Statement = {
  text: "reject",
  expressions: [
    { kind: "reject", data: { type: NFT_REJECT_ICMPX.unreachable, code: NFT_REJECT_ICMPX.portUnreachable } },
  ],
};
/** Rejects a TCP packet with a reset to its sender. */
export const resetTcp: Statement = {
  text: "reject with tcp reset",
  expressions: [{ kind: "reject", data: { type: NFT_REJECT_TCP_RESET, code: 0 } }],
};
/** Returns to the calling chain; in a base chain, the policy applies. */
export const returnToCaller: Statement = { text: "return", expressions: [verdict(VERDICT.return)] };

export function matchEqual(selector: Selector, value: Uint8Array, valueText: string): Statement {
  return {
    text: `${selector.text} ${valueText}`,
    expressions: [selector.load(NFT_REG.r1), compare(NFT_CMP.eq, value)],
  };
}

export function compare(op: number, value: Uint8Array): Expression {
  return { kind: "cmp", data: { sreg: NFT_REG.r1, op, data: { value } } };
}

/** Sets r1 to (r1 & mask) ^ xor. */
function bitwise(mask: Uint8Array, xor: Uint8Array = new Uint8Array(mask.length)): Expression {
  return {
    kind: "bitwise",
    data: {
      ...{ sreg: NFT_REG.r1, dreg: NFT_REG.r1, length: mask.length },
      ...{ mask: { value: mask }, xor: { value: xor } },
    },
  };
}

/** Encodes a number in host byte order, the order of register values that are not part of the packet. */
export function hostOrder(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
  return bytes;
}

export function hexadecimal(bits: number): string {
  return `0x${(bits >>> 0).toString(16).padStart(8, "0")}`;
}

/** Negative codes are encoded in two's complement. */
function verdict(code: number, chain?: string): Expression {
  const to = chain === undefined ? {} : { chain };
  return { kind: "immediate", data: { dreg: NFT_REG.verdict, data: { verdict: { code: code >>> 0, ...to } } } };
}
