/**
 * Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE (include/uapi/linux/rtnetlink.h).
 */
import {
  attribute,
  attributes,
  bytes,
  type Codec,
  CodecError,
  nest,
  struct,
  u8,
  u16,
  u32,
  type ValueOf,
} from "./codec.ts";
import type { MessageType } from "./message.ts";

/** Means the main table in requests from user space. */
export const RT_TABLE_UNSPEC = 0;
export const RT_TABLE_DEFAULT = 253;
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;
export const RT_SCOPE = { universe: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTN_BLACKHOLE = 6;
export const RTN_UNREACHABLE = 7;
export const RTN_PROHIBIT = 8;
/** The gateway is reachable on the link, even if no address of the link covers it. */
export const RTNH_F_ONLINK = 4;
/** In a query: the answer is the matching table entry instead of the resulting route (Linux 4.13). */
export const RTM_F_FIB_MATCH = 0x2000;
/** The kernel added the route, for an address. */
export const RTPROT_KERNEL = 2;
/** A route added manually (`ip route add`). */
export const RTPROT_BOOT = 3;
export const RTPROT_STATIC = 4;
/** From a router advertisement. */
export const RTPROT_RA = 9;

/** struct rtmsg */
const rtmsg = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  /** RT_TABLE_* below 256; the attribute `table` below has the full number. */
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
});

const metrics = attributes({
  mtu: attribute(2, "RTAX_MTU", u32),
  advmss: attribute(8, "RTAX_ADVMSS", u32),
});

/** struct rtnexthop, followed by attributes. `length` covers both, without the padding before the next one. */
const rtnexthop = struct({ length: u16, flags: u8, hops: u8, outputIndex: u32 });
const RTNH_SIZE = 8;

const nextHopAttributes = attributes({
  gateway: attribute(5, "RTA_GATEWAY", bytes),
});

export type NextHop = Omit<ValueOf<typeof rtnexthop>, "length"> & ValueOf<typeof nextHopAttributes>;

const nextHops: Codec<readonly NextHop[]> = {
  write(to, hops) {
    for (const { flags, hops: weight, outputIndex, gateway } of hops) {
      const length = RTNH_SIZE + (gateway === undefined ? 0 : 4 + gateway.length);
      rtnexthop.write(to, { length, flags, hops: weight, outputIndex });
      nextHopAttributes.write(to, { gateway });
    }
  },
  read(from) {
    const hops: NextHop[] = [];
    for (let at = 0; at < from.length; ) {
      const { length, ...hop } = rtnexthop.read(from.subarray(at));
      if (length < RTNH_SIZE || at + length > from.length)
        throw new CodecError("", `invalid next hop length ${length}`);
      hops.push({ ...hop, ...nextHopAttributes.read(from.subarray(at + RTNH_SIZE, at + length)) });
      // RTNH_ALIGN
      at += (length + 3) & ~3;
    }
    return hops;
  },
};

/** struct rtvia: a next hop whose family differs from the destination's. */
const via: Codec<{ readonly family: number; readonly address: Uint8Array }> = {
  write(to, { family, address }) {
    u16.write(to, family);
    to.bytes(address);
  },
  read: (from) => ({ family: u16.read(from.subarray(0, u16.size)), address: from.slice(u16.size) }),
};

const routeAttributes = attributes({
  destination: attribute(1, "RTA_DST", bytes),
  source: attribute(2, "RTA_SRC", bytes),
  inputIndex: attribute(3, "RTA_IIF", u32),
  outputIndex: attribute(4, "RTA_OIF", u32),
  gateway: attribute(5, "RTA_GATEWAY", bytes),
  priority: attribute(6, "RTA_PRIORITY", u32),
  preferredSource: attribute(7, "RTA_PREFSRC", bytes),
  metrics: attribute(8, "RTA_METRICS", nest(metrics)),
  multipath: attribute(9, "RTA_MULTIPATH", nextHops),
  table: attribute(15, "RTA_TABLE", u32),
  via: attribute(18, "RTA_VIA", via),
});

type RouteMessage = MessageType<ValueOf<typeof rtmsg>, ValueOf<typeof routeAttributes>>;

export const RTM_NEWROUTE: RouteMessage = {
  identifier: "RTM_NEWROUTE",
  type: 24,
  header: rtmsg,
  attributes: routeAttributes,
};
export const RTM_DELROUTE: RouteMessage = {
  identifier: "RTM_DELROUTE",
  type: 25,
  header: rtmsg,
  attributes: routeAttributes,
};
export const RTM_GETROUTE: RouteMessage = {
  identifier: "RTM_GETROUTE",
  type: 26,
  header: rtmsg,
  attributes: routeAttributes,
};
