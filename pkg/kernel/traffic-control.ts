/**
 * Limits on a device's traffic: a token bucket for what leaves it, and a second device (ifb) where what arrives is sent
 * through another one. Handles and arithmetic are those of the reference plugin, so that each finds the other's.
 */
import {
  decode,
  dumpRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_ECHO,
  NLM_F_EXCL,
  type Request,
  request,
} from "../netlink/message.ts";
import {
  ETH_P_ALL,
  RTM_DELQDISC,
  RTM_GETQDISC,
  RTM_GETTFILTER,
  RTM_NEWQDISC,
  RTM_NEWTFILTER,
  TC_ACT_STOLEN,
  TC_H_INGRESS,
  TC_H_ROOT,
  TC_U32_TERMINAL,
  TCA_EGRESS_REDIR,
} from "../netlink/traffic-control.ts";

/** What a pod may send or receive. */
export interface Limit {
  readonly bytesPerSecond: number;
  /** How much may pass at once after a silence. */
  readonly burstBytes: number;
}

const U32_RANGE = 2 ** 32;
const U32_MAX = U32_RANGE - 1;

/** `1:` and `ffff:` */
const BUCKET_HANDLE = 0x0001_0000;
const INGRESS_HANDLE = 0xffff_0000;

const MICROSECONDS = 1_000_000;
/** The kernel counts tokens in ticks of 64 ns (PSCHED_SHIFT in include/net/pkt_sched.h). */
const TICKS_PER_MICROSECOND = 1000 / 64;
/** How long a packet may wait for tokens, as with the reference. */
const LATENCY_MICROSECONDS = 25_000;

/** How long the bucket takes to fill, in ticks; it may be more than the kernel's 32 bits show. */
function bufferTicks({ bytesPerSecond, burstBytes }: Limit): number {
  return Math.floor(Math.floor((burstBytes * MICROSECONDS) / bytesPerSecond) * TICKS_PER_MICROSECOND);
}

/** How many bytes may wait. */
function queueLimit({ bytesPerSecond, burstBytes }: Limit): number {
  return Math.min(Math.floor((bytesPerSecond * LATENCY_MICROSECONDS) / MICROSECONDS) + burstBytes, U32_MAX);
}

/** A token bucket for what leaves the device. EEXIST when the device has an outermost discipline of somebody's. */
export function addBucket(index: number, limit: Limit): Request {
  const { bytesPerSecond, burstBytes } = limit;
  const ticks = bufferTicks(limit);
  const parms = {
    rate: Math.min(bytesPerSecond, U32_MAX),
    limit: queueLimit(limit),
    buffer: ticks % U32_RANGE,
  };
  return request(
    RTM_NEWQDISC,
    `tc qdisc add dev index ${index} root handle 1: tbf rate ${bytesPerSecond}bps burst ${burstBytes} limit ${parms.limit}`,
    { index, handle: BUCKET_HANDLE, parent: TC_H_ROOT },
    {
      kind: "tbf",
      data: {
        parms,
        rate64: bytesPerSecond > U32_MAX ? BigInt(bytesPerSecond) : undefined,
        // In ticks a long time would come back to almost none.
        burst: ticks > U32_MAX ? burstBytes : undefined,
      },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/** A place for filters on what arrives. EEXIST when there is one. */
export function addIngress(index: number): Request {
  return request(
    RTM_NEWQDISC,
    `tc qdisc add dev index ${index} handle ffff: ingress`,
    { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS },
    { kind: "ingress", data: {} },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

const REDIRECTION_PRIORITY = 1;
/** ETH_P_ALL in network byte order. */
const EVERY_PROTOCOL = ETH_P_ALL << 8;

/** All that arrives at the device leaves by `target` instead, before it goes on; `addIngress` comes first. */
export function addRedirection(index: number, target: number): Request {
  return request(
    RTM_NEWTFILTER,
    `tc filter add dev index ${index} parent ffff: protocol all prio ${REDIRECTION_PRIORITY} u32 match u32 0 0 ` +
      `action mirred egress redirect dev index ${target}`,
    { index, parent: INGRESS_HANDLE, info: (REDIRECTION_PRIORITY << 16) | EVERY_PROTOCOL },
    {
      kind: "u32",
      data: {
        classId: BUCKET_HANDLE | 1,
        // One key whose mask is zero: every packet.
        selector: { flags: TC_U32_TERMINAL, keyCount: 1 },
        actions: {
          first: {
            kind: "mirred",
            data: { parms: { action: TC_ACT_STOLEN, mirredAction: TCA_EGRESS_REDIR, index: target } },
          },
        },
      },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * Asks for the outermost discipline; no answer but an acknowledgement where it is one that every device has. The kernel
 * answers only those who want to hear of changes of their own.
 */
export function getBucket(index: number): Request {
  const text = `tc qdisc show dev index ${index} root`;
  return request(RTM_GETQDISC, text, { index, parent: TC_H_ROOT }, undefined, NLM_F_ECHO);
}

/** True when `message` answers `getBucket` with the discipline that `addBucket` makes of `limit`. */
export function isBucket(message: Message, limit: Limit): boolean {
  const { header, attributes } = decode(RTM_NEWQDISC, message);
  if (attributes.kind !== "tbf" || header.handle !== BUCKET_HANDLE) return false;
  const { parms, rate64 } = attributes.data ?? {};
  const rate = rate64 === undefined ? parms?.rate : Number(rate64);
  return rate === limit.bytesPerSecond && parms?.limit === queueLimit(limit) && isBuffer(parms?.buffer ?? 0, limit);
}

/** What the kernel makes of a burst that is given in bytes differs a little from our own arithmetic. */
const TICKS_OF_ROUNDING = 64;

/** The kernel shows the lowest 32 bits of the time. */
function isBuffer(shown: number, limit: Limit): boolean {
  const difference = (shown - (bufferTicks(limit) % U32_RANGE) + U32_RANGE) % U32_RANGE;
  return Math.min(difference, U32_RANGE - difference) <= TICKS_OF_ROUNDING;
}

/** The filters on what arrives at the device; ENOENT or no answer where there is no place for them. */
export function redirectionDump(index: number): Request {
  return dumpRequest(
    RTM_GETTFILTER,
    `tc filter show dev index ${index} parent ffff:`,
    { index, parent: INGRESS_HANDLE },
    undefined,
  );
}

/** True when `message` is a filter that sends everything to `target`, whoever of us made it. */
export function isRedirection(message: Message, target: number): boolean {
  const { attributes } = decode(RTM_NEWTFILTER, message);
  if (attributes.kind !== "u32") return false;
  const { selector, actions } = attributes.data ?? {};
  const parms = actions?.first?.kind === "mirred" ? actions.first.data?.parms : undefined;
  return (
    selector?.keyCount === 1 &&
    selector.mask === 0 &&
    parms?.mirredAction === TCA_EGRESS_REDIR &&
    parms.action === TC_ACT_STOLEN &&
    parms.index === target
  );
}

/** Removes what `addBucket` made. */
export function deleteBucket(index: number): Request {
  const text = `tc qdisc del dev index ${index} root handle 1:`;
  return request(RTM_DELQDISC, text, { index, handle: BUCKET_HANDLE, parent: TC_H_ROOT }, undefined);
}

/** Removes what `addIngress` made, with all filters in it. */
export function deleteIngress(index: number): Request {
  const text = `tc qdisc del dev index ${index} handle ffff: ingress`;
  return request(RTM_DELQDISC, text, { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS }, undefined);
}
