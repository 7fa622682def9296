/**
 * Selects tracked connections inside the kernel: for a dump (CTA_FILTER, Linux 5.8), and for a flush that needs no dump
 * (CTA_FILTER in IPCTNL_MSG_CT_DELETE, about Linux 6.11). Source: net/netfilter/nf_conntrack_netlink.c.
 *
 * Filters never contain IPv6 addresses. The kernel inverts the comparison of IPv6 addresses and selects all connections
 * except those of the address (`ctnetlink_filter_match_tuple`; seen on 6.18). It compares ports and the protocol
 * correctly.
 */
import { type Address, addressToBytes, type Family, formatAddress } from "../ip/address.ts";
import {
  type ConnectionTuple,
  CTA_FILTER_F,
  IPCTNL_MSG_CT_DELETE,
  IPCTNL_MSG_CT_GET,
  IPS_SEEN_REPLY,
} from "../netlink/conntrack.ts";
import { dumpRequest, lateRequest, type Query, type Request } from "../netlink/message.ts";
import { addressFamily } from "./address.ts";

export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;

/** Selects the connections of a family that match every given field. */
export interface ConnectionSelector {
  readonly family: Family;
  /** IPPROTO_*; undefined: all protocols. Ports are compared only together with a protocol. */
  readonly protocol?: number | undefined;
  /** The source of the first packet, before any translation. */
  readonly source?: Address | undefined;
  /** The destination of the first packet, before any translation. */
  readonly destination?: Address | undefined;
  readonly destinationPort?: number | undefined;
  /** The source of the replies, which is the destination after translation. */
  readonly answeredBy?: Address | undefined;
  readonly answeredFromPort?: number | undefined;
  /** The connection has had no reply. Kernels before 5.15 ignore this field. */
  readonly isUnanswered?: true;
  /** Kernels before 6.8 ignore this field in dumps. Kernels built without zones refuse it (EOPNOTSUPP). */
  readonly zone?: number | undefined;
}

/** A selector that every kernel with filter support applies exactly. */
export interface ExactSelector extends ConnectionSelector {
  readonly family: 4;
  readonly protocol: number;
  readonly destination: Address;
  readonly destinationPort: number;
}

/**
 * Dumps at least the selected connections. The dump also contains other connections: for IPv6 those of every address,
 * and before Linux 5.8 those of the entire family. The caller must therefore check each answer again. The kernel walks
 * its entire table for each dump, even if few entries match.
 */
export function connectionDump(selector: ConnectionSelector): Query {
  return dumpRequest(
    IPCTNL_MSG_CT_GET,
    `conntrack -L ${words(selector)}`,
    { family: addressFamily(selector.family) },
    attributesOf(selector),
  );
}

/**
 * Deletes the selected connections in one walk of the table. The reply does not contain the number of deleted
 * connections.
 *
 * A kernel without filters in this message interprets the original tuple as a complete tuple. The tuple has no source
 * address, so the kernel refuses it (EINVAL) and deletes nothing. Without an original tuple the kernel would delete
 * every connection. The address and the port are therefore mandatory.
 */
export function connectionFlush(selector: ExactSelector): Request {
  return lateRequest(
    IPCTNL_MSG_CT_DELETE,
    () => ({ kind: "connection", key: words(selector) }),
    () => `conntrack -D ${words(selector)}`,
    () => [{ family: addressFamily(selector.family) }, attributesOf(selector)],
  );
}

function attributesOf(selector: ConnectionSelector) {
  const { family, protocol, destinationPort, answeredFromPort, isUnanswered, zone } = selector;
  const { source, destination, answeredBy }: Partial<ConnectionSelector> = family === 4 ? selector : {};
  const reply: ConnectionTuple = {
    ...(answeredBy && { ip: { source4: addressToBytes(answeredBy) } }),
    // The kernel reads the ports of a tuple only if the tuple has a protocol.
    ...(answeredFromPort !== undefined && { protocol: { number: protocol, sourcePort: answeredFromPort } }),
  };
  return {
    original: {
      ...((source ?? destination) && {
        ip: {
          source4: source && addressToBytes(source),
          destination4: destination && addressToBytes(destination),
        },
      }),
      ...(protocol !== undefined && { protocol: { number: protocol, destinationPort } }),
    },
    ...((answeredBy !== undefined || answeredFromPort !== undefined) && { reply }),
    ...(isUnanswered && { status: 0, statusMask: IPS_SEEN_REPLY }),
    zone,
    filter: {
      original:
        flag(protocol, CTA_FILTER_F.protocol) |
        flag(source, CTA_FILTER_F.source) |
        flag(destination, CTA_FILTER_F.destination) |
        flag(destinationPort, CTA_FILTER_F.destinationPort),
      reply:
        flag(answeredBy, CTA_FILTER_F.source) | flag(answeredFromPort, CTA_FILTER_F.protocol | CTA_FILTER_F.sourcePort),
    },
  };
}

const flag = (part: unknown, bit: number) => (part === undefined ? 0 : bit);

/** The name that `conntrack` uses for the protocol. */
export function protocolName(protocol: number | undefined): string {
  return protocol === IPPROTO_UDP ? "udp" : protocol === IPPROTO_TCP ? "tcp" : String(protocol);
}

function words(selector: ConnectionSelector): string {
  const { family, protocol, source, destination, destinationPort } = selector;
  const { answeredBy, answeredFromPort, isUnanswered, zone } = selector;
  return [
    `-f ipv${family}`,
    ...(protocol === undefined ? [] : [`-p ${protocolName(protocol)}`]),
    ...(source === undefined ? [] : [`--orig-src ${formatAddress(source)}`]),
    ...(destination === undefined ? [] : [`--orig-dst ${formatAddress(destination)}`]),
    ...(destinationPort === undefined ? [] : [`--orig-port-dst ${destinationPort}`]),
    ...(answeredBy === undefined ? [] : [`--reply-src ${formatAddress(answeredBy)}`]),
    ...(answeredFromPort === undefined ? [] : [`--reply-port-src ${answeredFromPort}`]),
    ...(isUnanswered ? ["-u UNREPLIED"] : []),
    ...(zone === undefined ? [] : [`-w ${zone}`]),
  ].join(" ");
}
