/**
 * Limits on a device's traffic: a token bucket for what leaves it, and a second device (ifb) where what arrives is sent
 * through another one. Handles and arithmetic are those of the reference plugin, so that each finds the other's.
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

/** What a pod may send or receive. */
export interface Limit {
  readonly bytesPerSecond: number;
  /** How much may pass at once after a silence. */
  readonly burstBytes: number;
}

const U32_RANGE = 2 ** 32;
const U32_MAX = U32_RANGE - 1;

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

/** A device has one discipline at each place. */
function qdiscObject(index: number, parent: number): ObjectIdentity {
  return { kind: "qdisc", key: `index ${index} parent ${parent.toString(16)}` };
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
    qdiscObject(index, TC_H_ROOT),
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
    qdiscObject(index, TC_H_INGRESS),
    `tc qdisc add dev index ${index} handle ffff: ingress`,
    { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS },
    { kind: "ingress", data: {} },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/** All that arrives at the device leaves by `target` instead, before it goes on; `addIngress` comes first. */
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

/** A key whose mask is zero. */
const EVERY_PACKET: Key = { mask: 0, value: 0, at: 0 };
type Key = U32Selector["keys"][number];

interface U32Filter {
  readonly index: number;
  readonly parent: number;
  /** Smaller ones are asked earlier. All filters of one priority are of one protocol. */
  readonly priority: number;
  readonly protocol: number;
  readonly keys: readonly Key[];
  /** The device that matching packets leave by; `undefined`: they go on their way, and no further filter is asked. */
  readonly target: number | undefined;
}

/** By place, priority and what it matches: the kernel chooses handles. */
function filterObject({ index, parent, priority, protocol, keys }: U32Filter): ObjectIdentity {
  const matches = keys.map(({ at, mask, value }) => `${at}:${mask.toString(16)}:${value.toString(16)}`).join(",");
  const place = `index ${index} parent ${parent.toString(16)}`;
  return { kind: "filter", key: `${place} prio ${priority} protocol ${protocol} ${matches}` };
}

function addU32(text: string, filter: U32Filter): Request {
  const { index, parent, priority, protocol, keys, target } = filter;
  // In network byte order.
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

/** Where filters see a device's packets: those that arrive at it, those that leave it (TC_H_MIN_INGRESS, _EGRESS). */
export const HOOKS = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;
export type Hook = keyof typeof HOOKS;

/** A place for filters on both hooks. EEXIST when there is one, or `addIngress` was there; `deleteIngress` removes it. */
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

/** What becomes of packets from or to a subnet, or of all packets that no other filter has matched. */
export interface SubnetFilter {
  readonly index: number;
  readonly hook: Hook;
  readonly match: { readonly side: "saddr" | "daddr"; readonly prefix: Prefix } | undefined;
  /** As with `addU32`. */
  readonly target: number | undefined;
}

/** Of the fixed headers: IPv4's (RFC 791) and IPv6's (RFC 8200). */
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

/** One for each word of the address that the prefix reaches into; for a prefix of no bits one that every packet matches. */
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

/** `addClsact` comes first. */
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

/** The filters on a hook; ENOENT, EINVAL or no answer where there is no place for them. */
export function filterDump(index: number, hook: Hook): Query {
  const text = `tc filter show dev index ${index} ${hook}`;
  return dumpRequest(RTM_GETTFILTER, text, { index, parent: HOOKS[hook] }, undefined);
}

/** True when `message` is what `addSubnetFilter` made. */
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
 * Asks for the outermost discipline; no answer but an acknowledgement where it is one that every device has. The kernel
 * answers only those who want to hear of changes of their own.
 */
export function getBucket(index: number): Query {
  const text = `tc qdisc show dev index ${index} root`;
  return query(RTM_GETQDISC, text, { index, parent: TC_H_ROOT }, undefined, NLM_F_ECHO);
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
export function redirectionDump(index: number): Query {
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
  const keys = attributes.data?.selector?.keys ?? [];
  return keys.length === 1 && keys[0]?.mask === 0 && isRedirectedTo(message, target);
}

/** Removes what `addBucket` made. */
export function deleteBucket(index: number): Request {
  const text = `tc qdisc del dev index ${index} root handle 1:`;
  const header = { index, handle: BUCKET_HANDLE, parent: TC_H_ROOT };
  return request(RTM_DELQDISC, qdiscObject(index, TC_H_ROOT), text, header, undefined);
}

/** Removes what `addIngress` made, with all filters in it. */
export function deleteIngress(index: number): Request {
  const text = `tc qdisc del dev index ${index} handle ffff: ingress`;
  const header = { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS };
  return request(RTM_DELQDISC, qdiscObject(index, TC_H_INGRESS), text, header, undefined);
}
