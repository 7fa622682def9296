/** Expressions that log packets, and limit how many: nft_log.c, nft_limit.c. */
import type { Data } from "./number-expressions.ts";
import { Refusal, required } from "./refusal.ts";

/** NF_LOG_PREFIXLEN, which includes the NUL. */
const LONGEST_PREFIX = 128;

export function log(data: Data<"log">): Data<"log"> {
  const { group, prefix, snapLength, queueThreshold, level } = data;
  if (level !== undefined && group !== undefined) throw new Refusal("EINVAL");
  if (group === undefined) throw new Error("the fake nftables logs only to groups");
  return {
    ...(prefix === undefined ? {} : { prefix }),
    group,
    ...(snapLength === undefined ? {} : { snapLength }),
    ...(queueThreshold === undefined || queueThreshold === 0 ? {} : { queueThreshold }),
  };
}

/** Checks that precede all others. */
export function parseLog({ prefix = "" }: Data<"log">): void {
  if (new TextEncoder().encode(prefix).length >= LONGEST_PREFIX) throw new Refusal("ERANGE");
}

/** NFT_LIMIT_PKTS, NFT_LIMIT_PKT_BYTES, NFT_LIMIT_F_INV */
const PACKETS = 0;
const BYTES = 1;
const INVERTED = 1;
/** NFT_LIMIT_PKT_BURST_DEFAULT */
const DEFAULT_BURST = 5;
const NANOSECONDS = 1_000_000_000n;
const LARGEST = (1n << 64n) - 1n;

export function parseLimit({ type = PACKETS, flags = 0 }: Data<"limit">): void {
  if ((flags & ~INVERTED) !== 0) throw new Refusal("EOPNOTSUPP");
  if (type > BYTES) throw new Refusal("EOPNOTSUPP");
  if (type === BYTES) throw new Error("the fake nftables limits only packets");
}

export function limit(data: Data<"limit">): Data<"limit"> {
  const [rate, unit] = [required(data.rate), required(data.unit)];
  if (rate === 0n) throw new Refusal("EINVAL");
  if (unit * NANOSECONDS > LARGEST) throw new Refusal("EOVERFLOW");
  return { rate, unit, burst: data.burst || DEFAULT_BURST, type: PACKETS, flags: data.flags ?? 0 };
}
