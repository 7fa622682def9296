/**
 * Links: parses the links that the kernel reports, and makes the requests that create, change and remove them.
 */
import { formatMac, parseMac } from "../ip/mac.ts";
import type { ValueOf } from "../netlink/codec.ts";
import {
  IFF_ALLMULTI,
  IFF_PROMISC,
  IFF_UP,
  type linkAttributes,
  RTEXT_FILTER_SKIP_STATS,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_NEWLINK_STATE,
} from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_EXCL,
  type ObjectIdentity,
  type Query,
  query,
  type Request,
  request,
} from "../netlink/message.ts";

/** Identifies a link in a namespace: the name is for people, the index for the kernel. */
export interface LinkReference {
  readonly name: string;
  readonly index: number;
}

/**
 * Selects a link in a request. If both name and index are given, the kernel uses the index, and the name is the
 * object's identity.
 */
export type LinkSelector = string | number | LinkReference;

/**
 * Identifies a link by name, because a recreated link has the same name again; by index if only the index is known. A
 * caller that creates a link and changes it later passes both.
 */
export function linkObject(link: LinkSelector): ObjectIdentity {
  return { kind: "link", key: describeLink(typeof link === "object" ? link.name : link) };
}

type LinkInfo = NonNullable<ValueOf<typeof linkAttributes>["linkInfo"]>;
/** A link's kind, with the attributes of that kind. */
export type LinkKindData = NonNullable<LinkInfo["device"]>;
/** The attributes of a VXLAN device as the kernel reports them (IFLA_VXLAN_*). */
export type VxlanDetails = NonNullable<Extract<LinkKindData, { kind: "vxlan" }>["data"]>;

/** IFLA_OPERSTATE (include/uapi/linux/if.h). */
const IF_OPER_UP = 6;

/** A link, as a dump or a notification describes it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Alternative names, which may be longer; absent if there are none. */
  readonly alternativeNames?: readonly string[];
  readonly mtu: number;
  /** "" for devices without a link-layer address. */
  readonly mac: string;
  readonly isUp: boolean;
  readonly isPromiscuous: boolean;
  /** The device accepts packets to every multicast address. */
  readonly isAllMulticast: boolean;
  /** In packets. */
  readonly txQueueLength: number;
  /** RFC 2863: the link and the layer below it are up (IF_OPER_UP). */
  readonly isOperational: boolean;
  /** "bridge", "veth", "vxlan", …; "" for physical devices. */
  readonly kind: string;
  /** The index of the bridge (or other master) of this link; 0 if none. */
  readonly masterIndex: number;
  /** The index of a veth's other end, or of the underlying device; 0 if none. */
  readonly peerIndex: number;
  readonly alias: string;
  readonly vxlan: VxlanDetails | undefined;
  /** Set for bridges. */
  readonly bridge: { readonly filtersVlans: boolean; readonly canFilterVlans: boolean } | undefined;
  /** Set for bridge ports. */
  readonly port: { readonly isHairpin: boolean; readonly isIsolated: boolean } | undefined;
}

/** Reads RTM_NEWLINK or RTM_DELLINK. */
export function parseLink(message: Message): Link {
  const { header, attributes } = decode(RTM_NEWLINK, message);
  const device = attributes.linkInfo?.device;
  const slave = attributes.linkInfo?.port;
  const port = attributes.portSettings ?? (slave?.kind === "bridge" ? (slave.data ?? {}) : undefined);
  return {
    index: header.index,
    name: attributes.ifname ?? "",
    ...(attributes.alternativeNames === undefined ? {} : { alternativeNames: attributes.alternativeNames }),
    mtu: attributes.mtu ?? 0,
    mac: attributes.address === undefined ? "" : formatMac(attributes.address),
    isUp: (header.flags & IFF_UP) !== 0,
    isPromiscuous: (header.flags & IFF_PROMISC) !== 0,
    isAllMulticast: (header.flags & IFF_ALLMULTI) !== 0,
    txQueueLength: attributes.txQueueLength ?? 0,
    isOperational: attributes.operState === IF_OPER_UP,
    kind: device?.kind ?? "",
    masterIndex: attributes.master ?? 0,
    peerIndex: attributes.link ?? 0,
    alias: attributes.ifalias ?? "",
    vxlan: device?.kind === "vxlan" ? device.data : undefined,
    bridge:
      device?.kind === "bridge"
        ? {
            filtersVlans: device.data?.vlanFiltering === 1,
            canFilterVlans: device.data?.vlanProtocol !== undefined,
          }
        : undefined,
    port: port === undefined ? undefined : { isHairpin: port.hairpin === 1, isIsolated: port.isolated === 1 },
  };
}

/** The part of a link that ADD needs of the links that it has made or brought up. */
export type LinkState = Pick<Link, "index" | "name" | "mac" | "masterIndex" | "isOperational">;

/** Reads RTM_NEWLINK like `parseLink`. */
export function parseLinkState(message: Message): LinkState {
  const { header, attributes } = decode(RTM_NEWLINK_STATE, message);
  return {
    index: header.index,
    name: attributes.ifname ?? "",
    mac: attributes.address === undefined ? "" : formatMac(attributes.address),
    masterIndex: attributes.master ?? 0,
    isOperational: attributes.operState === IF_OPER_UP,
  };
}

/** Dumps all links of the namespace. */
export function linkDump(): Query {
  return dumpRequest(RTM_GETLINK, "ip link show", {}, { extendedMask: RTEXT_FILTER_SKIP_STATS });
}

/** Gets one link by name, alternative name or index. Fails with ENODEV if it does not exist. */
export function getLink(link: string | number): Query {
  return query(
    RTM_GETLINK,
    () => `ip link show ${describeLink(link)}`,
    { index: typeof link === "number" ? link : 0 },
    { ...nameOf(link), extendedMask: RTEXT_FILTER_SKIP_STATS },
  );
}

/** IFNAMSIZ and ALTIFNAMSIZ (include/uapi/linux/if.h, netdevice.h), without the NUL. */
export const LONGEST_NAME = 15;
const LONGEST_ALTERNATIVE_NAME = 127;

/** False for a name longer than any link can have: the kernel refuses a request for it (ERANGE). */
export function mayNameLink(name: string): boolean {
  return byteLength(name) <= LONGEST_ALTERNATIVE_NAME;
}

/** The attribute depends on the length only: the kernel searches names and alternative names for either attribute. */
function nameOf(link: LinkSelector): { readonly ifname?: string; readonly alternativeName?: string } {
  if (typeof link !== "string") return {};
  return byteLength(link) <= LONGEST_NAME ? { ifname: link } : { alternativeName: link };
}

/** 0 tells the kernel to use the name. */
function indexOf(link: LinkSelector): number {
  return typeof link === "string" ? 0 : typeof link === "number" ? link : link.index;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** The changeable properties of an existing link; omitted keys stay unchanged. */
export interface LinkChange {
  /** The new name, for a link that is selected by index and is down. */
  readonly name?: string;
  readonly up?: boolean;
  readonly promiscuous?: boolean | undefined;
  readonly allMulticast?: boolean | undefined;
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  readonly txQueueLength?: number | undefined;
  readonly alias?: string;
  /** Bridge port settings; the link must be a port. */
  readonly port?: PortSettings;
  /** Announce the address by gratuitous ARP when the link comes up (net.ipv4.conf.<dev>.arp_notify). */
  readonly arpNotify?: boolean;
  /** Makes the link a port of this bridge. */
  readonly masterIndex?: number;
}

export interface PortSettings {
  /** Frames may leave through the port that they arrived on. */
  readonly hairpin?: boolean;
  /** The port exchanges no frames with other isolated ports of the bridge. */
  readonly isolated?: boolean;
}

/** Makes one request for all fields of `change`. */
export function changeLink(link: LinkSelector, change: LinkChange): Request {
  let flags = 0;
  let mask = 0;
  if (change.up !== undefined) {
    mask |= IFF_UP;
    if (change.up) flags |= IFF_UP;
  }
  if (change.promiscuous !== undefined) {
    mask |= IFF_PROMISC;
    if (change.promiscuous) flags |= IFF_PROMISC;
  }
  if (change.allMulticast !== undefined) {
    mask |= IFF_ALLMULTI;
    if (change.allMulticast) flags |= IFF_ALLMULTI;
  }
  return request(
    RTM_NEWLINK,
    () => linkObject(link),
    () => `ip link set ${describeLink(link)}${describeChange(change)}`,
    { index: indexOf(link), flags, change: mask },
    {
      ...(typeof link === "string" ? nameOf(link) : { ifname: change.name }),
      address: change.mac === undefined ? undefined : parseMac(change.mac),
      mtu: change.mtu,
      txQueueLength: change.txQueueLength,
      master: change.masterIndex,
      ifalias: change.alias,
      linkInfo: change.port === undefined ? undefined : { port: { kind: "bridge", data: portData(change.port) } },
      familySettings:
        change.arpNotify === undefined ? undefined : { inet: { conf: { arpNotify: change.arpNotify ? 1 : 0 } } },
    },
  );
}

function portData({ hairpin, isolated }: PortSettings) {
  const asNumber = (value: boolean | undefined) => (value === undefined ? undefined : value ? 1 : 0);
  return { hairpin: asNumber(hairpin), isolated: asNumber(isolated) };
}

function describeLink(link: LinkSelector): string {
  return typeof link === "string" ? link : `index ${indexOf(link)}`;
}

function describeChange(change: LinkChange): string {
  const words: string[] = [];
  if (change.name !== undefined) words.push(`name ${change.name}`);
  if (change.masterIndex !== undefined)
    words.push(change.masterIndex === 0 ? "nomaster" : `master index ${change.masterIndex}`);
  if (change.mac !== undefined) words.push(`address ${change.mac}`);
  if (change.mtu !== undefined) words.push(`mtu ${change.mtu}`);
  if (change.txQueueLength !== undefined) words.push(`txqueuelen ${change.txQueueLength}`);
  if (change.alias !== undefined) words.push(`alias ${change.alias}`);
  const { hairpin, isolated } = change.port ?? {};
  if (change.port !== undefined) words.push("type bridge_slave");
  if (hairpin !== undefined) words.push(`hairpin ${hairpin ? "on" : "off"}`);
  if (isolated !== undefined) words.push(`isolated ${isolated ? "on" : "off"}`);
  if (change.promiscuous !== undefined) words.push(`promisc ${change.promiscuous ? "on" : "off"}`);
  if (change.allMulticast !== undefined) words.push(`allmulticast ${change.allMulticast ? "on" : "off"}`);
  if (change.up !== undefined) words.push(change.up ? "up" : "down");
  return words.map((word) => ` ${word}`).join("");
}

/** Removes a link; for a veth, the kernel removes the other end too. */
export function deleteLink(link: LinkSelector): Request {
  return request(
    RTM_DELLINK,
    () => linkObject(link),
    () => `ip link del ${describeLink(link)}`,
    { index: indexOf(link) },
    nameOf(link),
  );
}

/** The new namespace of an existing link, and its name there. */
export interface Move {
  readonly namespaceFd: number;
  readonly name: string;
  /** Empty for no alias. */
  readonly alias: string;
}

/** Moves a link; the kernel sets it down during the move. The link is selected by index, because its name changes. */
export function moveLink(index: number, { namespaceFd, name, alias }: Move): Request {
  return request(
    RTM_NEWLINK,
    linkObject(index),
    `ip link set index ${index} netns (another) name ${name} alias "${alias}"`,
    { index },
    { ifname: name, ifalias: alias, netNsFd: namespaceFd },
  );
}

export interface BridgeSettings {
  readonly name: string;
  /**
   * A fixed address: the bridge does not take an address from its ports, and no other program (systemd's
   * MACAddressPolicy) sets one.
   */
  readonly mac: string;
  readonly mtu?: number | undefined;
  /** The bridge filters by VLAN tags. Creation fails with EOPNOTSUPP if the kernel has no VLAN filtering. */
  readonly filtersVlans?: boolean;
}

/** Creates a bridge and brings it up. Fails with EEXIST if the name is taken. */
export function createBridge(settings: BridgeSettings): Request {
  return request(
    RTM_NEWLINK,
    () => linkObject(settings.name),
    () =>
      `ip link add ${settings.name} address ${settings.mac} type bridge${settings.filtersVlans === true ? " vlan_filtering 1" : ""}`,
    { flags: IFF_UP, change: IFF_UP },
    {
      ifname: settings.name,
      address: parseMac(settings.mac),
      mtu: settings.mtu,
      linkInfo: {
        device: settings.filtersVlans === true ? { kind: "bridge", data: { vlanFiltering: 1 } } : { kind: "bridge" },
      },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

export interface VethSettings {
  readonly name: string;
  readonly mac: string;
  readonly mtu?: number | undefined;
  readonly masterIndex?: number | undefined;
  /** True if the host's end stays down, too. */
  readonly isDown?: boolean;
  readonly peer: {
    readonly name: string;
    readonly mac: string;
    readonly mtu?: number | undefined;
    /**
     * The peer's namespace; the socket's own if omitted. The kernel creates the peer inside this namespace, so the peer
     * never exists in another one.
     */
    readonly namespaceFd?: number;
  };
}

/**
 * Creates a veth pair. The host end is attached to its bridge, and up unless `isDown`. The peer is inside its namespace
 * and down, because the kernel refuses to create a peer up (ENOTCONN). Fails with EEXIST if either name is taken.
 */
export function createVeth(settings: VethSettings): Request {
  const { peer } = settings;
  return request(
    RTM_NEWLINK,
    () => linkObject(settings.name),
    () =>
      `ip link add ${settings.name} address ${settings.mac} type veth peer name ${peer.name} address ${peer.mac}${peer.namespaceFd === undefined ? "" : " netns (the pod's)"}`,
    settings.isDown === true ? {} : { flags: IFF_UP, change: IFF_UP },
    {
      ifname: settings.name,
      address: parseMac(settings.mac),
      mtu: settings.mtu,
      master: settings.masterIndex,
      linkInfo: {
        device: {
          kind: "veth",
          data: {
            peer: {
              header: {},
              attributes: { ifname: peer.name, address: parseMac(peer.mac), mtu: peer.mtu, netNsFd: peer.namespaceFd },
            },
          },
        },
      },
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * Creates an ifb device, down. It sends out all packets redirected to it, so that its own queueing discipline applies
 * to them. Fails with EEXIST if the name is taken.
 */
export function createIfb(name: string, mtu: number): Request {
  return request(
    RTM_NEWLINK,
    linkObject(name),
    `ip link add ${name} mtu ${mtu} type ifb`,
    {},
    { ifname: name, mtu, linkInfo: { device: { kind: "ifb" } } },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}
