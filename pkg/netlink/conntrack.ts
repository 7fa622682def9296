/**
 * Tracked connections: IPCTNL_MSG_CT_GET and _DELETE (include/uapi/linux/netfilter/nfnetlink_conntrack.h). Numbers in
 * attributes are in network byte order, except the flags of filters.
 */
import {
  attribute,
  attributes,
  be16,
  be32,
  bytes,
  type Codec,
  NLA_TYPE_MASK,
  nest,
  u8,
  u32,
  type ValueOf,
} from "./codec.ts";
import type { MessageType } from "./message.ts";
import { nfgenmsg } from "./nftables.ts";

const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;

/** CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC and CTA_IP_V6_DST. */
const ADDRESS_FIELDS = [1, 2, 3, 4];

const ip = attributes({
  source4: attribute(1, "CTA_IP_V4_SRC", bytes),
  destination4: attribute(2, "CTA_IP_V4_DST", bytes),
  source6: attribute(3, "CTA_IP_V6_SRC", bytes),
  destination6: attribute(4, "CTA_IP_V6_DST", bytes),
});

const protocol = attributes({
  number: attribute(1, "CTA_PROTO_NUM", u8),
  sourcePort: attribute(2, "CTA_PROTO_SRC_PORT", be16),
  destinationPort: attribute(3, "CTA_PROTO_DST_PORT", be16),
});

/** One direction of a connection. */
const tuple = attributes({
  ip: attribute(CTA_TUPLE_IP, "CTA_TUPLE_IP", nest(ip)),
  protocol: attribute(CTA_TUPLE_PROTO, "CTA_TUPLE_PROTO", nest(protocol)),
  zone: attribute(3, "CTA_TUPLE_ZONE", be16),
});
export type ConnectionTuple = ValueOf<typeof tuple>;

/** CTA_FILTER_F_*: the tuple fields that the kernel compares in a dump (Linux 5.8; net/netfilter/nf_internals.h). */
export const CTA_FILTER_F = {
  source: 1,
  destination: 2,
  protocol: 8,
  sourcePort: 0x10,
  destinationPort: 0x20,
} as const;

/** IPS_*: the status of a connection (include/uapi/linux/netfilter/nf_conntrack_common.h). */
export const IPS_SEEN_REPLY = 2;

const filter = attributes({
  original: attribute(1, "CTA_FILTER_ORIG_FLAGS", u32),
  reply: attribute(2, "CTA_FILTER_REPLY_FLAGS", u32),
});

const connection = attributes(
  {
    original: attribute(CTA_TUPLE_ORIG, "CTA_TUPLE_ORIG", nest(tuple)),
    reply: attribute(CTA_TUPLE_REPLY, "CTA_TUPLE_REPLY", nest(tuple)),
    /** IPS_*; in requests, the values of the bits in `statusMask` (Linux 5.15). */
    status: attribute(3, "CTA_STATUS", be32),
    /** Distinguishes a connection from a later one with the same tuples. */
    id: attribute(12, "CTA_ID", be32),
    zone: attribute(18, "CTA_ZONE", be16),
    filter: attribute(25, "CTA_FILTER", nest(filter)),
    statusMask: attribute(26, "CTA_STATUS_MASK", be32),
  },
  { dropUnknown: true },
);
export type Connection = ValueOf<typeof connection>;

const NFGENMSG_LENGTH = 4;
const NLA_HEADER = 4;

/**
 * Reads the original tuple's protocol from an IPCTNL_MSG_CT_NEW without decoding the rest, because a node may track
 * hundreds of thousands of connections. Returns `undefined` if the message has none.
 */
export function originalProtocol(payload: Uint8Array): ValueOf<typeof protocol> | undefined {
  const original = findAttribute(payload, NFGENMSG_LENGTH, payload.length, CTA_TUPLE_ORIG);
  const found = original && findAttribute(payload, original.start, original.end, CTA_TUPLE_PROTO);
  return found && protocol.read(payload.subarray(found.start, found.end));
}

/**
 * Calls `look` with each address of an IPCTNL_MSG_CT_NEW, of 4 or 16 bytes: source and destination of both directions.
 * Stops when `look` returns true, and returns whether it did. Decodes nothing else, as `originalProtocol`.
 */
export function someAddress(payload: Uint8Array, look: (address: Uint8Array) => boolean): boolean {
  for (const type of [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY]) {
    const direction = findAttribute(payload, NFGENMSG_LENGTH, payload.length, type);
    const found = direction && findAttribute(payload, direction.start, direction.end, CTA_TUPLE_IP);
    if (found === undefined) continue;
    for (const field of ADDRESS_FIELDS) {
      const address = findAttribute(payload, found.start, found.end, field);
      if (address !== undefined && look(payload.subarray(address.start, address.end))) return true;
    }
  }
  return false;
}

/** Finds the start and end of the payload of the first attribute of this type. */
function findAttribute(bytes: Uint8Array, from: number, to: number, type: number) {
  const u16At = (at: number) => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
  for (let at = from; to - at >= NLA_HEADER; ) {
    const length = u16At(at);
    if (length < NLA_HEADER || at + length > to) return undefined;
    if ((u16At(at + 2) & NLA_TYPE_MASK) === type) return { start: at + NLA_HEADER, end: at + length };
    at += (length + 3) & ~3;
  }
  return undefined;
}

const NFNL_SUBSYS_CTNETLINK = 1;

function message(identifier: string, number: number): MessageType<ValueOf<typeof nfgenmsg>, Connection> {
  return { identifier, type: (NFNL_SUBSYS_CTNETLINK << 8) | number, header: nfgenmsg, attributes: connection };
}

export const IPCTNL_MSG_CT_NEW = message("IPCTNL_MSG_CT_NEW", 0);
export const IPCTNL_MSG_CT_GET = message("IPCTNL_MSG_CT_GET", 1);
export const IPCTNL_MSG_CT_DELETE = message("IPCTNL_MSG_CT_DELETE", 2);

/** A direction as the kernel sent it. Requests repeat it, whatever the protocol (ICMP has no ports). */
const rawTuple: Codec<Uint8Array> = { ...bytes, isNest: true };

const rawConnection = attributes(
  {
    original: attribute(CTA_TUPLE_ORIG, "CTA_TUPLE_ORIG", rawTuple),
    id: attribute(12, "CTA_ID", be32),
    zone: attribute(18, "CTA_ZONE", be16),
  },
  { dropUnknown: true },
);

/** IPCTNL_MSG_CT_NEW and IPCTNL_MSG_CT_DELETE for connections of any protocol, with the tuple undecoded. */
export const RAW_CT_DELETE: MessageType<ValueOf<typeof nfgenmsg>, ValueOf<typeof rawConnection>> = {
  ...IPCTNL_MSG_CT_DELETE,
  attributes: rawConnection,
};
