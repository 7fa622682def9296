/**
 * Selects tracked connections inside the kernel: for a dump (CTA_FILTER, Linux 5.8), and for a flush that needs no dump
 * (CTA_FILTER in IPCTNL_MSG_CT_DELETE, about Linux 6.11). Source: net/netfilter/nf_conntrack_netlink.c.
 *
 * IPv6 addresses never go into a filter: the kernel compares them the wrong way round and selects all connections but those
 * of the address (`ctnetlink_filter_match_tuple`; seen on 6.18). Ports and the protocol are compared as they should.
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

/** All connections of a family and a protocol of which each given part is true. */
export interface ConnectionSelector {
  readonly family: Family;
  /** IPPROTO_* */
  readonly protocol: number;
  /** What the first packet was addressed to, before any translation. */
  readonly destination?: Address | undefined;
  readonly destinationPort?: number | undefined;
  /** The source of replies: where a translation led. */
  readonly answeredBy?: Address | undefined;
  readonly answeredFromPort?: number | undefined;
  /** No reply has come yet. Kernels before 5.15 do not look at it. */
  readonly isUnanswered?: true;
  /** Kernels before 6.8 do not look at it in dumps, and those built without zones refuse it (EOPNOTSUPP). */
  readonly zone?: number | undefined;
}

/** Selects what it says on every kernel that knows filters. */
export interface ExactSelector extends ConnectionSelector {
  readonly family: 4;
  readonly destination: Address;
  readonly destinationPort: number;
}

/**
 * The selected connections, and more: of IPv6 those of all addresses, and all of the family before 5.8. So the answers must
 * be looked at again. The kernel walks its whole table for each dump, even where few entries match.
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
 * Deletes the selected connections in one walk of the table. The reply says nothing about how many.
 *
 * A kernel that does not know filters in this message takes the original tuple for a complete one. It has no source
 * address, so the kernel refuses it (EINVAL) and deletes nothing. Without that tuple it would delete everything: that is why
 * an address and a port must be given.
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
  const { destination, answeredBy }: Partial<ConnectionSelector> = family === 4 ? selector : {};
  const reply: ConnectionTuple = {
    ...(answeredBy && { ip: { source4: addressToBytes(answeredBy) } }),
    // The kernel reads ports only of a tuple that states its protocol.
    ...(answeredFromPort !== undefined && { protocol: { number: protocol, sourcePort: answeredFromPort } }),
  };
  return {
    original: {
      ...(destination && { ip: { destination4: addressToBytes(destination) } }),
      protocol: { number: protocol, destinationPort },
    },
    ...((answeredBy !== undefined || answeredFromPort !== undefined) && { reply }),
    ...(isUnanswered && { status: 0, statusMask: IPS_SEEN_REPLY }),
    zone,
    filter: {
      original:
        CTA_FILTER_F.protocol |
        flag(destination, CTA_FILTER_F.destination) |
        flag(destinationPort, CTA_FILTER_F.destinationPort),
      reply:
        flag(answeredBy, CTA_FILTER_F.source) | flag(answeredFromPort, CTA_FILTER_F.protocol | CTA_FILTER_F.sourcePort),
    },
  };
}

const flag = (part: unknown, bit: number) => (part === undefined ? 0 : bit);

/** As `conntrack` names it. */
export function protocolName(protocol: number | undefined): string {
  return protocol === IPPROTO_UDP ? "udp" : protocol === IPPROTO_TCP ? "tcp" : String(protocol);
}

function words(selector: ConnectionSelector): string {
  const { family, protocol, destination, destinationPort, answeredBy, answeredFromPort, isUnanswered, zone } = selector;
  return [
    `-f ipv${family} -p ${protocolName(protocol)}`,
    ...(destination === undefined ? [] : [`--orig-dst ${formatAddress(destination)}`]),
    ...(destinationPort === undefined ? [] : [`--orig-port-dst ${destinationPort}`]),
    ...(answeredBy === undefined ? [] : [`--reply-src ${formatAddress(answeredBy)}`]),
    ...(answeredFromPort === undefined ? [] : [`--reply-port-src ${answeredFromPort}`]),
    ...(isUnanswered ? ["-u UNREPLIED"] : []),
    ...(zone === undefined ? [] : [`-w ${zone}`]),
  ].join(" ");
}
