/**
 * Traffic control: queueing disciplines and filters (include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h,
 * tc_act/tc_mirred.h).
 */
import {
  attribute,
  attributes,
  be16,
  be32,
  type Codec,
  i32,
  nest,
  struct,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
  variant,
} from "./codec.ts";
import type { MessageType } from "./message.ts";

/** The parent of a device's root queueing discipline. */
export const TC_H_ROOT = 0xffffffff;
/** The parent of the discipline for filters on arriving packets. */
export const TC_H_INGRESS = 0xfffffff1;
/** A match is final: the kernel evaluates no further filter. */
export const TC_U32_TERMINAL = 1;
/** Send the packet through the other device instead. */
export const TCA_EGRESS_REDIR = 1;
/** The action consumes the packet. */
export const TC_ACT_STOLEN = 4;
/** Filters for packets of every protocol, of IPv4, of IPv6 (linux/if_ether.h). */
export const ETH_P_ALL = 3;
export const ETH_P_IP = 0x0800;
export const ETH_P_IPV6 = 0x86dd;

/** A struct whose omitted fields are written as zero. */
function partial<T>(codec: Codec<T> & Codec<Partial<T>>): Codec<Partial<T>> {
  return codec;
}

/** struct tcmsg; `info` of a filter is its priority (upper half) and protocol (lower half, network byte order). */
const tcmsg = struct({ family: u8, padding1: u8, padding2: u16, index: i32, handle: u32, parent: u32, info: u32 });

/**
 * struct tc_tbf_qopt: two of struct tc_ratespec, then the fields of tbf. Rates are in bytes per second; a peak rate of
 * 0 means none. `limit` is in bytes, `buffer` in ticks.
 */
const tbfQopt = struct({
  ...{ cellLog: u8, linkLayer: u8, overhead: u16, cellAlign: u16, mpu: u16, rate: u32 },
  ...{ peakCellLog: u8, peakLinkLayer: u8, peakOverhead: u16, peakCellAlign: u16, peakMpu: u16, peakRate: u32 },
  ...{ limit: u32, buffer: u32, mtu: u32 },
});

const tbf = attributes(
  {
    parms: attribute(1, "TCA_TBF_PARMS", partial(tbfQopt)),
    /** For rates that do not fit `parms.rate`, whose bits are then all ones. */
    rate64: attribute(4, "TCA_TBF_RATE64", u64),
    /** In bytes; it overrides `parms.buffer`. */
    burst: attribute(6, "TCA_TBF_BURST", u32),
  },
  { dropUnknown: true },
);

/** struct tc_u32_sel without its keys */
const u32Head = struct({
  ...{ flags: u8, offsetShift: u8, keyCount: u8, padding: u8, offsetMask: be16, offset: u16, offsetOffset: u16 },
  ...{ hashOffset: u16, hashMask: be32 },
});
/** struct tc_u32_key: matches if the 32 bits at offset `at` in the network header, masked by `mask`, equal `value`. */
const u32Key = struct({ mask: be32, value: be32, at: i32, atMask: i32 });

export interface U32Selector {
  readonly flags: number;
  /** The filter matches if all keys match. */
  readonly keys: readonly Pick<ValueOf<typeof u32Key>, "mask" | "value" | "at">[];
}

/**
 * Reads a selector without keys (an entry of a hash table) as undefined. Ignores keys beyond the end of the message.
 */
const selector: Codec<U32Selector | undefined> = {
  write(to, value) {
    if (value === undefined) return;
    u32Head.write(to, { flags: value.flags, keyCount: value.keys.length });
    for (const key of value.keys) u32Key.write(to, key);
  },
  read(from) {
    if (from.length < u32Head.size + u32Key.size) return undefined;
    const { flags, keyCount } = u32Head.read(from.subarray(0, u32Head.size));
    const held = Math.min(keyCount, Math.floor((from.length - u32Head.size) / u32Key.size));
    const keyAt = (index: number) => {
      const start = u32Head.size + index * u32Key.size;
      const { mask, value, at } = u32Key.read(from.subarray(start, start + u32Key.size));
      return { mask, value, at };
    };
    return { flags, keys: Array.from({ length: held }, (_, index) => keyAt(index)) };
  },
};

/** struct tc_mirred, after the fields common to all actions (tc_gen) */
const mirredParms = struct({
  ...{ actionIndex: u32, capabilities: u32, action: i32, references: i32, bindings: i32 },
  ...{ mirredAction: i32, index: u32 },
});

const mirred = attributes({ parms: attribute(2, "TCA_MIRRED_PARMS", partial(mirredParms)) }, { dropUnknown: true });

const action = variant({ type: 1, identifier: "TCA_ACT_KIND" }, { type: 2, identifier: "TCA_ACT_OPTIONS" }, { mirred });

/** A filter's actions are numbered from 1. The first one decides if it consumes the packet. */
const actions = attributes({ first: attribute(1, "TCA_ACT_1", action) }, { dropUnknown: true });

const u32Filter = attributes(
  {
    classId: attribute(1, "TCA_U32_CLASSID", u32),
    selector: attribute(5, "TCA_U32_SEL", selector),
    actions: attribute(7, "TCA_U32_ACT", nest(actions)),
  },
  { dropUnknown: true },
);

const KIND = { type: 1, identifier: "TCA_KIND" };
const OPTIONS = { type: 2, identifier: "TCA_OPTIONS" };

const qdiscAttributes = variant(KIND, OPTIONS, { tbf, ingress: attributes({}), clsact: attributes({}) });
const filterAttributes = variant(KIND, OPTIONS, { u32: u32Filter });

type QdiscMessage = MessageType<ValueOf<typeof tcmsg>, ValueOf<typeof qdiscAttributes>>;
type FilterMessage = MessageType<ValueOf<typeof tcmsg>, ValueOf<typeof filterAttributes>>;

/** The attributes of messages that only identify an object. */
const nothing: Codec<undefined> = { write: () => undefined, read: () => undefined };
type NamingMessage = MessageType<ValueOf<typeof tcmsg>, undefined>;

export const RTM_NEWQDISC: QdiscMessage = {
  identifier: "RTM_NEWQDISC",
  type: 36,
  header: tcmsg,
  attributes: qdiscAttributes,
};
export const RTM_DELQDISC: NamingMessage = {
  identifier: "RTM_DELQDISC",
  type: 37,
  header: tcmsg,
  attributes: nothing,
};
export const RTM_GETQDISC: NamingMessage = {
  identifier: "RTM_GETQDISC",
  type: 38,
  header: tcmsg,
  attributes: nothing,
};
export const RTM_NEWTFILTER: FilterMessage = {
  identifier: "RTM_NEWTFILTER",
  type: 44,
  header: tcmsg,
  attributes: filterAttributes,
};
export const RTM_GETTFILTER: NamingMessage = {
  identifier: "RTM_GETTFILTER",
  type: 46,
  header: tcmsg,
  attributes: nothing,
};
