/**
 * Limits on a device's traffic: a token bucket for packets that leave it. Arriving packets are redirected to a second
 * device (ifb) with a bucket of its own. Handles and arithmetic are those of the reference plugin, so that each
 * implementation recognises the other's objects.
 */
import { BUCKET_HANDLE, FILTER_PRIORITIES, INGRESS_HANDLE } from "../footprint.ts";
import { addressBits } from "../ip/address.ts";
import { formatPrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import {
  decode,
  dumpRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_ECHO,
  NLM_F_EXCL,
  type ObjectIdentity,
  type Query,
  query,
  type Request,
  request,
} from "../netlink/message.ts";
import {
  ETH_P_ALL,
  ETH_P_IP,
  ETH_P_IPV6,
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
  type U32Selector,
} from "../netlink/traffic-control.ts";

/** The limit on what a pod may send or receive. */
export interface Limit {
  readonly bytesPerSecond: number;
  /** The number of bytes that may pass at once after idle time. */
  readonly burstBytes: number;
}

const U32_RANGE = 2 ** 32;
const U32_MAX = U32_RANGE - 1;

const MICROSECONDS = 1_000_000;
/** The kernel counts tokens in ticks of 64 ns (PSCHED_SHIFT in include/net/pkt_sched.h). */
const TICKS_PER_MICROSECOND = 1000 / 64;
/** The longest time that a packet may wait for tokens, as in the reference plugin. */
const LATENCY_MICROSECONDS = 25_000;

/** The time that the bucket takes to fill, in ticks; may exceed the 32 bits that the kernel reports. */
function bufferTicks({ bytesPerSecond, burstBytes }: Limit): number {
  return Math.floor(Math.floor((burstBytes * MICROSECONDS) / bytesPerSecond) * TICKS_PER_MICROSECOND);
}

/** The number of bytes that may wait. */
function queueLimit({ bytesPerSecond, burstBytes }: Limit): number {
  return Math.min(Math.floor((bytesPerSecond * LATENCY_MICROSECONDS) / MICROSECONDS) + burstBytes, U32_MAX);
}

/** Identifies a queueing discipline by device and parent, because a device has one discipline per parent. */
function qdiscObject(index: number, parent: number): ObjectIdentity {
  return { kind: "qdisc", key: `index ${index} parent ${parent.toString(16)}` };
}

/**
 * Adds a token bucket for packets that leave the device. Fails with EEXIST if any program has set a root discipline.
 */
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
    qdiscObject(index, TC_H_ROOT),
    `tc qdisc add dev index ${index} root handle 1: tbf rate ${bytesPerSecond}bps burst ${burstBytes} limit ${parms.limit}`,
    { index, handle: BUCKET_HANDLE, parent: TC_H_ROOT },
    {
      kind: "tbf",
      data: {
        parms,
        rate64: bytesPerSecond > U32_MAX ? BigInt(bytesPerSecond) : undefined,
        // The number of ticks wraps at 32 bits, so a long time would become a short one.
        burst: ticks > U32_MAX ? burstBytes : undefined,
      },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/** Adds the hook for filters on arriving packets. Fails with EEXIST if it exists. */
export function addIngress(index: number): Request {
  return request(
    RTM_NEWQDISC,
    qdiscObject(index, TC_H_INGRESS),
    `tc qdisc add dev index ${index} handle ffff: ingress`,
    { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS },
    { kind: "ingress", data: {} },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * Redirects all packets that arrive at the device to leave through `target`, before further processing. Requires
 * `addIngress`.
 */
export function addRedirection(index: number, target: number): Request {
  const text =
    `tc filter add dev index ${index} parent ffff: protocol all prio ${FILTER_PRIORITIES.all} u32 match u32 0 0 ` +
    `action mirred egress redirect dev index ${target}`;
  return addU32(text, {
    index,
    parent: INGRESS_HANDLE,
    priority: FILTER_PRIORITIES.all,
    protocol: ETH_P_ALL,
    keys: [EVERY_PACKET],
    target,
  });
}

/** A key with a zero mask. */
const EVERY_PACKET: Key = { mask: 0, value: 0, at: 0 };
type Key = U32Selector["keys"][number];

interface U32Filter {
  readonly index: number;
  readonly parent: number;
  /** Filters with a smaller priority value run earlier. All filters of one priority have the same protocol. */
  readonly priority: number;
  readonly protocol: number;
  readonly keys: readonly Key[];
  /**
   * The device through which matching packets leave. If `undefined`, packets continue unchanged and skip the remaining
   * filters.
   */
  readonly target: number | undefined;
}

/** Identifies a filter by hook, priority and match; handles are not part of it, because the kernel chooses them. */
function filterObject({ index, parent, priority, protocol, keys }: U32Filter): ObjectIdentity {
  const matches = keys.map(({ at, mask, value }) => `${at}:${mask.toString(16)}:${value.toString(16)}`).join(",");
  const place = `index ${index} parent ${parent.toString(16)}`;
  return { kind: "filter", key: `${place} prio ${priority} protocol ${protocol} ${matches}` };
}

function addU32(text: string, filter: U32Filter): Request {
  const { index, parent, priority, protocol, keys, target } = filter;
  // The kernel expects network byte order.
  const swapped = ((protocol & 0xff) << 8) | (protocol >> 8);
  const actions = {
    first: {
      kind: "mirred" as const,
      data: { parms: { action: TC_ACT_STOLEN, mirredAction: TCA_EGRESS_REDIR, index: target ?? 0 } },
    },
  };
  return request(
    RTM_NEWTFILTER,
    () => filterObject(filter),
    text,
    { index, parent, info: (priority << 16) | swapped },
    {
      kind: "u32",
      data: {
        classId: BUCKET_HANDLE | 1,
        selector: { flags: TC_U32_TERMINAL, keys },
        ...(target === undefined ? {} : { actions }),
      },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/** The hooks for filters on a device: arriving and leaving packets (TC_H_MIN_INGRESS, _EGRESS). */
export const HOOKS = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;
export type Hook = keyof typeof HOOKS;

/**
 * Adds a clsact discipline: the hooks for filters in both directions. Fails with EEXIST if it exists or `addIngress`
 * was applied; `deleteIngress` removes it.
 */
export function addClsact(index: number): Request {
  return request(
    RTM_NEWQDISC,
    qdiscObject(index, TC_H_INGRESS),
    `tc qdisc add dev index ${index} clsact`,
    { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS },
    { kind: "clsact", data: {} },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/** A filter on packets from or to a subnet, or on all packets that no other filter has matched. */
export interface SubnetFilter {
  readonly index: number;
  readonly hook: Hook;
  readonly match: { readonly side: "saddr" | "daddr"; readonly prefix: Prefix } | undefined;
  /** See `U32Filter`. */
  readonly target: number | undefined;
}

/** Offsets in the fixed headers of IPv4 (RFC 791) and IPv6 (RFC 8200). */
const ADDRESS_OFFSETS = { 4: { saddr: 12, daddr: 16 }, 6: { saddr: 8, daddr: 24 } } as const;
const WORD_BITS = 32;

function u32Of({ index, hook, match, target }: SubnetFilter): U32Filter {
  const place = { index, parent: HOOKS[hook], target };
  if (match === undefined)
    return { ...place, priority: FILTER_PRIORITIES.rest, protocol: ETH_P_ALL, keys: [EVERY_PACKET] };
  const { family } = match.prefix.address;
  const of =
    family === 4
      ? { priority: FILTER_PRIORITIES.ipv4, protocol: ETH_P_IP }
      : { priority: FILTER_PRIORITIES.ipv6, protocol: ETH_P_IPV6 };
  return { ...place, ...of, keys: keysOf(match.prefix, ADDRESS_OFFSETS[family][match.side]) };
}

/**
 * One key for each word of the address that the prefix covers; a prefix of length 0 gives one key that every packet
 * matches.
 */
function keysOf(prefix: Prefix, offset: number): Key[] {
  const { address, length } = networkOf(prefix);
  const bits = addressBits(address.family);
  return Array.from({ length: Math.max(1, Math.ceil(length / WORD_BITS)) }, (_, word) => {
    const covered = Math.min(WORD_BITS, length - word * WORD_BITS);
    const mask = covered === 0 ? 0 : (U32_MAX << (WORD_BITS - covered)) >>> 0;
    const value = Number((address.value >> BigInt(bits - (word + 1) * WORD_BITS)) & BigInt(U32_MAX));
    return { mask, value: (value & mask) >>> 0, at: offset + word * 4 };
  });
}

/** Adds a filter. Requires `addClsact`. */
export function addSubnetFilter(filter: SubnetFilter): Request {
  const { index, hook, match, target } = filter;
  const { priority } = u32Of(filter);
  const family = match?.prefix.address.family;
  const protocol = family === undefined ? "all" : family === 4 ? "ip" : "ipv6";
  const word = `${family === 4 ? "ip" : "ip6"} ${match?.side === "saddr" ? "src" : "dst"}`;
  const matches = match === undefined ? "u32 0 0" : `${word} ${formatPrefix(match.prefix)}`;
  const action = target === undefined ? "classid 1:1" : `action mirred egress redirect dev index ${target}`;
  const where = `dev index ${index} ${hook} protocol ${protocol} prio ${priority}`;
  return addU32(`tc filter add ${where} u32 match ${matches} ${action}`, u32Of(filter));
}

/** Dumps the filters on a hook. The kernel answers ENOENT, EINVAL or nothing if the hook does not exist. */
export function filterDump(index: number, hook: Hook): Query {
  const text = `tc filter show dev index ${index} ${hook}`;
  return dumpRequest(RTM_GETTFILTER, text, { index, parent: HOOKS[hook] }, undefined);
}

/** True if `message` describes a filter that `addSubnetFilter` made from `filter`. */
export function isSubnetFilter(message: Message, filter: SubnetFilter): boolean {
  const { keys, target } = u32Of(filter);
  const { attributes } = decode(RTM_NEWTFILTER, message);
  if (attributes.kind !== "u32" || !isSameKeys(attributes.data?.selector?.keys ?? [], keys)) return false;
  return target === undefined ? attributes.data?.actions === undefined : isRedirectedTo(message, target);
}

function isSameKeys(held: readonly Key[], wanted: readonly Key[]): boolean {
  const isSame = (one: Key, other: Key | undefined) =>
    one.mask === other?.mask && one.value === other.value && one.at === other.at;
  return held.length === wanted.length && held.every((key, at) => isSame(key, wanted[at]));
}

function isRedirectedTo(message: Message, target: number): boolean {
  const { attributes } = decode(RTM_NEWTFILTER, message);
  const actions = attributes.kind === "u32" ? attributes.data?.actions : undefined;
  const parms = actions?.first?.kind === "mirred" ? actions.first.data?.parms : undefined;
  return parms?.mirredAction === TCA_EGRESS_REDIR && parms.action === TC_ACT_STOLEN && parms.index === target;
}

/**
 * Requests the root discipline. The answer is only an acknowledgement if the device has the default discipline.
 * NLM_F_ECHO is necessary: without it the kernel sends no answer.
 */
export function getBucket(index: number): Query {
  const text = `tc qdisc show dev index ${index} root`;
  return query(RTM_GETQDISC, text, { index, parent: TC_H_ROOT }, undefined, NLM_F_ECHO);
}

/** True if `message` answers `getBucket` with the discipline that `addBucket` makes from `limit`. */
export function isBucket(message: Message, limit: Limit): boolean {
  const { header, attributes } = decode(RTM_NEWQDISC, message);
  if (attributes.kind !== "tbf" || header.handle !== BUCKET_HANDLE) return false;
  const { parms, rate64 } = attributes.data ?? {};
  const rate = rate64 === undefined ? parms?.rate : Number(rate64);
  return rate === limit.bytesPerSecond && parms?.limit === queueLimit(limit) && isBuffer(parms?.buffer ?? 0, limit);
}

/** The tolerance for the kernel's rounding: it converts a burst in bytes slightly differently from `bufferTicks`. */
const TICKS_OF_ROUNDING = 64;

/** Compares modulo 32 bits, because the kernel reports only the lowest 32 bits of the time. */
function isBuffer(shown: number, limit: Limit): boolean {
  const difference = (shown - (bufferTicks(limit) % U32_RANGE) + U32_RANGE) % U32_RANGE;
  return Math.min(difference, U32_RANGE - difference) <= TICKS_OF_ROUNDING;
}

/**
 * Dumps the filters on packets that arrive at the device. The kernel answers ENOENT or nothing if the hook does not
 * exist.
 */
export function redirectionDump(index: number): Query {
  return dumpRequest(
    RTM_GETTFILTER,
    `tc filter show dev index ${index} parent ffff:`,
    { index, parent: INGRESS_HANDLE },
    undefined,
  );
}

/** True if `message` is a filter that sends all packets to `target`, made by weft or by the reference plugin. */
export function isRedirection(message: Message, target: number): boolean {
  const { attributes } = decode(RTM_NEWTFILTER, message);
  if (attributes.kind !== "u32") return false;
  const keys = attributes.data?.selector?.keys ?? [];
  return keys.length === 1 && keys[0]?.mask === 0 && isRedirectedTo(message, target);
}

/** Removes the bucket of `addBucket`. */
export function deleteBucket(index: number): Request {
  const text = `tc qdisc del dev index ${index} root handle 1:`;
  const header = { index, handle: BUCKET_HANDLE, parent: TC_H_ROOT };
  return request(RTM_DELQDISC, qdiscObject(index, TC_H_ROOT), text, header, undefined);
}

/** Removes the hook of `addIngress`, with all its filters. */
export function deleteIngress(index: number): Request {
  const text = `tc qdisc del dev index ${index} handle ffff: ingress`;
  const header = { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS };
  return request(RTM_DELQDISC, qdiscObject(index, TC_H_INGRESS), text, header, undefined);
}
