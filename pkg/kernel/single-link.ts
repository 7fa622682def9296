/**
 * Links that are created in a pod's namespace and leave nothing on the host: dummy devices, and devices that share a
 * parent (macvlan, ipvlan, vlan).
 */
import { PROBE_LINK } from "../footprint.ts";
import { parseMac } from "../ip/mac.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { RTM_NEWLINK } from "../netlink/link.ts";
import { decode, NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../netlink/message.ts";
import { getLink, type LinkKindData, linkObject } from "./link.ts";

/** MACVLAN_MODE_* (include/uapi/linux/if_link.h), under the names that ip(8) uses. */
export const MACVLAN_MODE = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
/** IPVLAN_MODE_* (include/uapi/linux/if_link.h). */
export const IPVLAN_MODE = { l2: 0, l3: 1, l3s: 2 } as const;

export interface SingleLink {
  readonly name: string;
  readonly device: LinkKindData;
  /** If omitted, the kernel chooses: a random address, or the parent's. */
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  /** IFLA_LINK: the parent's index, in the namespace of the socket. */
  readonly parentIndex?: number | undefined;
  /** The namespace of the new link; the socket's own if omitted. */
  readonly namespaceFd?: number | undefined;
}

/**
 * Creates a link, down. Fails with EEXIST if the name is taken in the namespace, and with EOPNOTSUPP if the kernel does
 * not support the kind.
 */
export function createSingleLink(link: SingleLink): Request {
  const { name, device, mac, mtu, parentIndex, namespaceFd } = link;
  const parent = parentIndex === undefined ? "" : ` link index ${parentIndex}`;
  const where = namespaceFd === undefined ? "" : " netns (the pod's)";
  return request(
    RTM_NEWLINK,
    linkObject(name),
    `ip link add ${name}${parent}${where} type ${device.kind}`,
    {},
    {
      ...{ ifname: name, mtu, link: parentIndex, netNsFd: namespaceFd, linkInfo: { device } },
      address: mac === undefined ? undefined : parseMac(mac),
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * True if the kernel supports devices of this kind or can load their module. The function requests a device that every
 * kind refuses (a multicast hardware address, no parent), so the kernel creates nothing. The errno shows whether the
 * kernel supports the kind.
 */
export function supportsDevice(netlink: BlockingNetlink, kind: LinkKindData["kind"]): boolean {
  const impossible = createSingleLink({ name: PROBE_LINK, device: { kind }, mac: "01:00:00:00:00:00" });
  const [reply] = netlink.exchange([impossible]);
  return !isNetlinkError(reply?.error, "EOPNOTSUPP");
}

/** Reads the kind of an existing link, with its attributes; `undefined` for physical devices. */
export function readDevice(netlink: BlockingNetlink, link: string | number): LinkKindData | undefined {
  const [message] = netlink.run(getLink(link));
  return message === undefined ? undefined : decode(RTM_NEWLINK, message).attributes.linkInfo?.device;
}
