/** Statements that recognise frames, ARP and neighbour discovery by their senders. */
import { NFT_CMP, NFT_REG } from "../netlink/nftables.ts";
import { bigEndian, compare, matchAll, matchEqual, matchIcmpv6, matchProtocol, type Statement } from "./expressions.ts";
import {
  arpOperation,
  arpSenderAddress,
  destinationPort,
  etherProtocol,
  etherType,
  hopLimit,
  icmpv6Type,
  sourcePort,
} from "./selector.ts";

const ETHER_TYPE = { ip: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;

/** Matches frames without a VLAN tag of one EtherType, for tables of family bridge. */
export function matchEtherType(name: keyof typeof ETHER_TYPE): Statement {
  return matchEqual(etherType, bigEndian(ETHER_TYPE[name]), name);
}

/** In tables of family bridge, a match on a header of the network layer requires this match before it. */
export function matchEtherProtocol(name: keyof typeof ETHER_TYPE): Statement {
  return matchEqual(etherProtocol, bigEndian(ETHER_TYPE[name]), name);
}

/** Matches ARP requests (ARPOP_REQUEST). */
export const matchArpRequest = matchEqual(arpOperation, bigEndian(1), "request");

/** Matches an unspecified sender: the sender of an ARP probe (RFC 5227). */
export const matchArpWithoutSender = matchEqual(arpSenderAddress, new Uint8Array(4), "0.0.0.0");

/** Matches ICMPv6 messages of one type. */
export function matchIcmpv6Type(type: number): Statement {
  return matchAll(matchIcmpv6, matchEqual(icmpv6Type, Uint8Array.of(type), String(type)));
}

/** Matches IPv6 packets that a router may have forwarded: their hop limit is not 255. */
export const matchMayBeForwarded: Statement = {
  text: "ip6 hoplimit != 255",
  expressions: [hopLimit.load(NFT_REG.r1), compare(NFT_CMP.neq, Uint8Array.of(255))],
};

/** Matches a DHCPv4 client's packets to servers (RFC 2131 section 4.1). */
export function matchDhcpClient(): Statement {
  return matchAll(
    matchProtocol(17),
    matchEqual(sourcePort, bigEndian(68), "68"),
    matchEqual(destinationPort, bigEndian(67), "67"),
  );
}
