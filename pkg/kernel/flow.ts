/**
 * Reads tracked connections as policies see them, without decoding the rest: a node may have hundreds of thousands.
 * Source: net/netfilter/nf_conntrack_netlink.c.
 */
import { type Address, addressFromBytes } from "../ip/address.ts";
import { NLA_TYPE_MASK } from "../netlink/codec.ts";
import type { Message } from "../netlink/message.ts";
import type { SysctlName } from "./sysctl.ts";

/** While this setting is 1, the kernel records the beginning of each new connection. */
export const FLOW_TIMES: SysctlName = ["net", "netfilter", "nf_conntrack_timestamp"];

/** CTA_* (include/uapi/linux/netfilter/nfnetlink_conntrack.h) */
const CTA = { original: 1, reply: 2, status: 3, protocolInfo: 4, timestamp: 20 } as const;
const CTA_TUPLE = { ip: 1, protocol: 2 } as const;
const CTA_IP_SOURCE = { 4: 1, 6: 3 } as const;
const CTA_PROTO = { number: 1, sourcePort: 2 } as const;
const CTA_TIMESTAMP_START = 1;
const CTA_PROTOINFO_TCP = 1;
/** struct nf_ct_tcp_flags: flags (u8) and mask (u8). */
const CTA_PROTOINFO_TCP_FLAGS_ORIGINAL = 4;

const IPPROTO_TCP = 6;
/** IP_CT_TCP_FLAG_BE_LIBERAL (nf_conntrack_tcp.h): set if the first tracked packet was in the middle of a connection. */
const BE_LIBERAL = 8;
/** The kernel chooses clients' ports from here on (net.ipv4.ip_local_port_range). */
const FIRST_EPHEMERAL_PORT = 32_768;

/** IPS_EXPECTED (include/uapi/linux/netfilter/nf_conntrack_common.h) */
const IPS_EXPECTED = 1;

const NFGENMSG_LENGTH = 4;
const NLA_HEADER = 4;

/**
 * The source of the connection before translation, and its destination after translation.
 *
 * If the kernel begins to track a TCP connection in the middle, it takes the sender of the first tracked packet for the
 * client. If the ports say that this was the server, source and destination are exchanged here.
 */
export class Flow {
  readonly #bytes: Uint8Array;
  readonly #from: Span;
  readonly #to: Span;
  /** IPPROTO_* */
  readonly protocol: number;
  /** The destination port after translation; 0 for protocols without ports. */
  readonly port: number;
  /** The source port before translation; 0 for protocols without ports. */
  readonly sourcePort: number;
  /** True if the kernel has tracked a TCP connection from its middle on. */
  readonly isPickedUp: boolean;
  /** True if another connection announced this one (`ct state related`). */
  readonly isExpected: boolean;
  /** Milliseconds since 1970; undefined if the kernel has not recorded the beginning (nf_conntrack_timestamp). */
  readonly startedMs: number | undefined;

  private constructor(bytes: Uint8Array, parts: FlowParts) {
    this.#bytes = bytes;
    this.#from = parts.from;
    this.#to = parts.to;
    this.protocol = parts.protocol;
    this.port = parts.port;
    this.sourcePort = parts.sourcePort;
    this.isPickedUp = parts.isPickedUp;
    this.isExpected = parts.isExpected;
    this.startedMs = parts.startedMs;
  }

  /** Reads IPCTNL_MSG_CT_NEW. Undefined if the connection has no IP addresses. Valid as long as the message. */
  static read({ payload }: Message): Flow | undefined {
    const end = payload.length;
    const original = find(payload, NFGENMSG_LENGTH, end, CTA.original);
    const from = source(payload, original);
    const reply = find(payload, NFGENMSG_LENGTH, end, CTA.reply);
    const to = source(payload, reply);
    const protocols = reply && find(payload, reply.start, reply.end, CTA_TUPLE.protocol);
    const number = protocols && find(payload, protocols.start, protocols.end, CTA_PROTO.number);
    if (from === undefined || to === undefined || protocols === undefined || number === undefined) return undefined;
    const status = find(payload, NFGENMSG_LENGTH, end, CTA.status);
    const times = find(payload, NFGENMSG_LENGTH, end, CTA.timestamp);
    const start = times && find(payload, times.start, times.end, CTA_TIMESTAMP_START);
    const protocol = payload[number.start] ?? 0;
    const isPickedUp = protocol === IPPROTO_TCP && hasBegunInTheMiddle(payload);
    const client = { address: from, port: sourcePort(payload, original) };
    const server = { address: to, port: sourcePort(payload, reply) };
    const isReversed = isPickedUp && client.port < FIRST_EPHEMERAL_PORT && server.port >= FIRST_EPHEMERAL_PORT;
    const [first, second] = isReversed ? [server, client] : [client, server];
    return new Flow(payload, {
      ...{ from: first.address, to: second.address, protocol, port: second.port, sourcePort: first.port, isPickedUp },
      isExpected: status !== undefined && (be32(payload, status.start) & IPS_EXPECTED) !== 0,
      // Nanoseconds. Precision below a millisecond is lost.
      startedMs: start && (be32(payload, start.start) * 2 ** 32 + be32(payload, start.start + 4)) / 1e6,
    });
  }

  get from(): Address {
    return addressFromBytes(this.#bytes.subarray(this.#from.start, this.#from.end));
  }

  get to(): Address {
    return addressFromBytes(this.#bytes.subarray(this.#to.start, this.#to.end));
  }

  /** `addressBytesKey` of `from`. */
  get fromKey(): string {
    return keyOf(this.#bytes, this.#from);
  }

  /** `addressBytesKey` of `to`. */
  get toKey(): string {
    return keyOf(this.#bytes, this.#to);
  }

  /** Equal for flows that differ only in their source port. */
  get key(): string {
    return `${this.fromKey}${this.toKey}${String.fromCharCode(this.protocol, this.port)}`;
  }
}

/** Returns a key for the 4 or 16 bytes of an address: one character for each byte. */
export function addressBytesKey(bytes: Uint8Array): string {
  return keyOf(bytes, { start: 0, end: bytes.length });
}

interface Span {
  readonly start: number;
  readonly end: number;
}

interface FlowParts extends Pick<Flow, "protocol" | "port" | "sourcePort" | "isPickedUp" | "isExpected" | "startedMs"> {
  readonly from: Span;
  readonly to: Span;
}

/** The source address of a tuple. */
function source(bytes: Uint8Array, tuple: Span | undefined): Span | undefined {
  const ip = tuple && find(bytes, tuple.start, tuple.end, CTA_TUPLE.ip);
  if (ip === undefined) return undefined;
  return find(bytes, ip.start, ip.end, CTA_IP_SOURCE[4]) ?? find(bytes, ip.start, ip.end, CTA_IP_SOURCE[6]);
}

function hasBegunInTheMiddle(bytes: Uint8Array): boolean {
  const info = find(bytes, NFGENMSG_LENGTH, bytes.length, CTA.protocolInfo);
  const tcp = info && find(bytes, info.start, info.end, CTA_PROTOINFO_TCP);
  const flags = tcp && find(bytes, tcp.start, tcp.end, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL);
  return flags !== undefined && ((bytes[flags.start] ?? 0) & BE_LIBERAL) !== 0;
}

/** The source port of a tuple. */
function sourcePort(bytes: Uint8Array, tuple: Span | undefined): number {
  const protocol = tuple && find(bytes, tuple.start, tuple.end, CTA_TUPLE.protocol);
  const port = protocol && find(bytes, protocol.start, protocol.end, CTA_PROTO.sourcePort);
  return port === undefined ? 0 : be16(bytes, port.start);
}

/** Finds the start and end of the payload of the first attribute of this type. */
function find(bytes: Uint8Array, from: number, to: number, type: number): Span | undefined {
  for (let at = from; to - at >= NLA_HEADER; ) {
    const length = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    if (length < NLA_HEADER || at + length > to) return undefined;
    if (((bytes[at + 2] ?? 0) | (((bytes[at + 3] ?? 0) << 8) & NLA_TYPE_MASK)) === type)
      return { start: at + NLA_HEADER, end: at + length };
    at += (length + 3) & ~3;
  }
  return undefined;
}

function keyOf(bytes: Uint8Array, { start, end }: Span): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

function be16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function be32(bytes: Uint8Array, at: number): number {
  return be16(bytes, at) * 2 ** 16 + be16(bytes, at + 2);
}
