/** Statements that log packets, and limit how many (net/netfilter/nft_log.c, nft_limit.c). */
import type { Statement } from "./expressions.ts";

export interface LogOptions {
  /** Identifies the rule in log entries. */
  readonly prefix: string;
  /** The group of nfnetlink_log. */
  readonly group: number;
  /** The maximum number of bytes of a packet in its log entry, starting with the IP header. */
  readonly snapLength: number;
}

/** Sends a log entry for the packet to a group of nfnetlink_log. Without a listener, nothing happens. */
export function log({ prefix, group, snapLength }: LogOptions): Statement {
  return {
    text: `log prefix "${prefix}" group ${group} snaplen ${snapLength}`,
    expressions: [{ kind: "log", data: { group, prefix, snapLength } }],
  };
}

/** NFT_LIMIT_PKTS */
const PACKETS = 0;

/** Matches up to `rate` packets a second, and up to `burst` packets at once. The rule has one limit for all packets. */
export function limitPerSecond(rate: number, burst: number): Statement {
  return {
    text: `limit rate ${rate}/second burst ${burst} packets`,
    expressions: [{ kind: "limit", data: { rate: BigInt(rate), unit: 1n, burst, type: PACKETS } }],
  };
}
