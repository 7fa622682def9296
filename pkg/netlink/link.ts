/**
 * Links: RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK (include/uapi/linux/if_link.h, rtnetlink.h, veth.h).
 */
import {
  attribute,
  attributes,
  be16,
  bytes,
  type Codec,
  cstring,
  i32,
  list,
  nest,
  struct,
  u8,
  u16,
  u32,
  type ValueOf,
  variant,
} from "./codec.ts";
import type { MessageType } from "./message.ts";

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

export const IFF_UP = 0x1;
export const IFF_PROMISC = 0x100;
export const IFF_ALLMULTI = 0x200;
export const IFF_LOWER_UP = 0x10000;

/** struct ifinfomsg */
export const ifinfomsg = struct({ family: u8, padding: u8, type: u16, index: i32, flags: u32, change: u32 });

/** IFLA_EXT_MASK: omit the counters, which are a third of a link's description. */
export const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/** The index in IFLA_INET_CONF of a net.ipv4.conf.<dev> setting (include/uapi/linux/ip.h, IPV4_DEVCONF_*). */
export const IPV4_DEVCONF = { arpNotify: 22 } as const;

/** IFLA_INET_CONF as the kernel accepts it: a nest whose attribute types are IPV4_DEVCONF_* numbers. */
const ipv4Configuration = attributes({
  arpNotify: attribute(IPV4_DEVCONF.arpNotify, "IPV4_DEVCONF_ARP_NOTIFY", u32),
});

const familySettings = attributes({
  inet: attribute(
    AF_INET,
    "AF_INET",
    nest(attributes({ conf: attribute(1, "IFLA_INET_CONF", nest(ipv4Configuration)) })),
  ),
});

/**
 * IFLA_AF_SPEC, for writing only. It has another layout in dumps (IFLA_INET_CONF is an array there), which weft does
 * not read.
 */
const writtenFamilySettings: Codec<ValueOf<typeof familySettings> | undefined> = {
  write(to, value) {
    if (value !== undefined) familySettings.write(to, value);
  },
  read: () => undefined,
};

const vxlan = attributes({
  vni: attribute(1, "IFLA_VXLAN_ID", u32),
  link: attribute(3, "IFLA_VXLAN_LINK", u32),
  local: attribute(4, "IFLA_VXLAN_LOCAL", bytes),
  learning: attribute(7, "IFLA_VXLAN_LEARNING", u8),
  port: attribute(15, "IFLA_VXLAN_PORT", be16),
  local6: attribute(17, "IFLA_VXLAN_LOCAL6", bytes),
  udpChecksum: attribute(18, "IFLA_VXLAN_UDP_CSUM", u8),
  udpZeroChecksum6Tx: attribute(19, "IFLA_VXLAN_UDP_ZERO_CSUM6_TX", u8),
  udpZeroChecksum6Rx: attribute(20, "IFLA_VXLAN_UDP_ZERO_CSUM6_RX", u8),
});

/** The settings of a bridge that weft reads or writes, out of forty; those of a port follow. */
const bridge = attributes(
  {
    stpState: attribute(5, "IFLA_BR_STP_STATE", u32),
    vlanFiltering: attribute(7, "IFLA_BR_VLAN_FILTERING", u8),
    /** Reported only by kernels with VLAN filtering. */
    vlanProtocol: attribute(8, "IFLA_BR_VLAN_PROTOCOL", be16),
  },
  { dropUnknown: true },
);

const bridgePort = attributes(
  {
    hairpin: attribute(4, "IFLA_BRPORT_MODE", u8),
    isolated: attribute(33, "IFLA_BRPORT_ISOLATED", u8),
  },
  { dropUnknown: true },
);

const peerAttributes = attributes({
  address: attribute(1, "IFLA_ADDRESS", bytes),
  ifname: attribute(3, "IFLA_IFNAME", cstring),
  mtu: attribute(4, "IFLA_MTU", u32),
  netNsFd: attribute(28, "IFLA_NET_NS_FD", u32),
});

type Peer = {
  readonly header: Partial<ValueOf<typeof ifinfomsg>>;
  readonly attributes: ValueOf<typeof peerAttributes>;
};

/** VETH_INFO_PEER: a struct ifinfomsg and the peer's own attributes. */
const veth = attributes({
  peer: attribute(1, "VETH_INFO_PEER", {
    write(to, value) {
      ifinfomsg.write(to, value.header);
      peerAttributes.write(to, value.attributes);
    },
    read: (from) => ({ header: ifinfomsg.read(from), attributes: peerAttributes.read(from.subarray(ifinfomsg.size)) }),
  } satisfies Codec<Peer>),
});

const macvlan = attributes({
  mode: attribute(1, "IFLA_MACVLAN_MODE", u32),
  broadcastQueueLength: attribute(7, "IFLA_MACVLAN_BC_QUEUE_LEN", u32),
});

const ipvlan = attributes({ mode: attribute(1, "IFLA_IPVLAN_MODE", u16) });

const vlan = attributes({ id: attribute(1, "IFLA_VLAN_ID", u16) });

/** Read-only: rtnetlink cannot create tun devices (drivers/net/tun.c). */
const tun = attributes({
  owner: attribute(1, "IFLA_TUN_OWNER", u32),
  group: attribute(2, "IFLA_TUN_GROUP", u32),
  type: attribute(3, "IFLA_TUN_TYPE", u8),
  multiQueue: attribute(7, "IFLA_TUN_MULTI_QUEUE", u8),
});

const vrf = attributes({ table: attribute(1, "IFLA_VRF_TABLE", u32) });

const linkInfo = variant(
  { type: 1, identifier: "IFLA_INFO_KIND" },
  { type: 2, identifier: "IFLA_INFO_DATA" },
  { bridge, dummy: attributes({}), ifb: attributes({}), ipvlan, macvlan, tun, veth, vlan, vrf, vxlan },
);

const portInfo = variant(
  { type: 4, identifier: "IFLA_INFO_SLAVE_KIND" },
  { type: 5, identifier: "IFLA_INFO_SLAVE_DATA" },
  { bridge: bridgePort },
);

/** IFLA_LINKINFO contains the device's kind and, for a port, its master's kind. */
const linkInfoBoth: Codec<{
  readonly device?: ValueOf<typeof linkInfo> | undefined;
  readonly port?: ValueOf<typeof portInfo> | undefined;
}> = {
  write(to, value) {
    if (value.device !== undefined) linkInfo.write(to, value.device);
    if (value.port !== undefined) portInfo.write(to, value.port);
  },
  read(from) {
    const device = linkInfo.read(from);
    const port = portInfo.read(from);
    return {
      device: (device.kind as string) === "" ? undefined : device,
      port: (port.kind as string) === "" ? undefined : port,
    };
  },
};

const IFLA_ALT_IFNAME = 53;

/** The link attributes that weft reads or writes, out of about sixty; the others are dropped. */
export const linkAttributes = attributes(
  {
    address: attribute(1, "IFLA_ADDRESS", bytes),
    ifname: attribute(3, "IFLA_IFNAME", cstring),
    mtu: attribute(4, "IFLA_MTU", u32),
    /** The index of the underlying device, or of a veth's other end (in the namespace of IFLA_LINK_NETNSID). */
    link: attribute(5, "IFLA_LINK", i32),
    master: attribute(10, "IFLA_MASTER", u32),
    /** The settings of a bridge port; only in messages of family AF_BRIDGE. */
    portSettings: attribute(12, "IFLA_PROTINFO", nest(bridgePort)),
    txQueueLength: attribute(13, "IFLA_TXQLEN", u32),
    operState: attribute(16, "IFLA_OPERSTATE", u8),
    linkInfo: attribute(18, "IFLA_LINKINFO", nest(linkInfoBoth)),
    ifalias: attribute(20, "IFLA_IFALIAS", cstring),
    familySettings: attribute(26, "IFLA_AF_SPEC", nest(writtenFamilySettings)),
    netNsFd: attribute(28, "IFLA_NET_NS_FD", u32),
    extendedMask: attribute(29, "IFLA_EXT_MASK", u32),
    /** Read-only: all alternative names of a link. */
    alternativeNames: attribute(52, "IFLA_PROP_LIST", list(IFLA_ALT_IFNAME, cstring)),
    /** Write-only: selects a link by one of its alternative names. */
    alternativeName: attribute(IFLA_ALT_IFNAME, "IFLA_ALT_IFNAME", cstring),
  },
  { dropUnknown: true },
);

type LinkMessage = MessageType<ValueOf<typeof ifinfomsg>, ValueOf<typeof linkAttributes>>;

export const RTM_NEWLINK: LinkMessage = {
  identifier: "RTM_NEWLINK",
  type: 16,
  header: ifinfomsg,
  attributes: linkAttributes,
};
const linkState = attributes(
  {
    address: attribute(1, "IFLA_ADDRESS", bytes),
    ifname: attribute(3, "IFLA_IFNAME", cstring),
    master: attribute(10, "IFLA_MASTER", u32),
    operState: attribute(16, "IFLA_OPERSTATE", u8),
  },
  { dropUnknown: true },
);

/** RTM_NEWLINK for callers that wait for a link: it has only the attributes that they need. */
export const RTM_NEWLINK_STATE: MessageType<ValueOf<typeof ifinfomsg>, ValueOf<typeof linkState>> = {
  identifier: "RTM_NEWLINK",
  type: 16,
  header: ifinfomsg,
  attributes: linkState,
};
export const RTM_DELLINK: LinkMessage = {
  identifier: "RTM_DELLINK",
  type: 17,
  header: ifinfomsg,
  attributes: linkAttributes,
};
export const RTM_GETLINK: LinkMessage = {
  identifier: "RTM_GETLINK",
  type: 18,
  header: ifinfomsg,
  attributes: linkAttributes,
};
