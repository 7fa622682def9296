/**
 * Links that are made in a pod's namespace with nothing left on the host: dummy devices, and those that share a parent
 * (macvlan, ipvlan, vlan).
 */
import { PROBE_LINK } from "../footprint.ts";
import { parseMac } from "../ip/mac.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { RTM_NEWLINK } from "../netlink/link.ts";
import { decode, NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../netlink/message.ts";
import { getLink, type LinkKindData, linkObject } from "./link.ts";

/** MACVLAN_MODE_* (include/uapi/linux/if_link.h), by the names that ip(8) has for them. */
export const MACVLAN_MODE = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
/** IPVLAN_MODE_* (include/uapi/linux/if_link.h). */
export const IPVLAN_MODE = { l2: 0, l3: 1, l3s: 2 } as const;

export interface SingleLink {
  readonly name: string;
  readonly device: LinkKindData;
  /** The kernel's choice when left out: random, or the parent's. */
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  /** IFLA_LINK: the parent's index, in the namespace of the socket. */
  readonly parentIndex?: number | undefined;
  /** The namespace to make it in; the socket's own when left out. */
  readonly namespaceFd?: number | undefined;
}

/** Down. EEXIST when the name is taken there, EOPNOTSUPP where the kernel has no such devices. */
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
 * True when the kernel has devices of this kind, or can load them. It is asked for one that no kind accepts (a multicast
 * hardware address, no parent), so that nothing is made; which refusal comes tells whether it knows the kind.
 */
export function supportsDevice(netlink: BlockingNetlink, kind: LinkKindData["kind"]): boolean {
  const impossible = createSingleLink({ name: PROBE_LINK, device: { kind }, mac: "01:00:00:00:00:00" });
  const [reply] = netlink.exchange([impossible]);
  return !isNetlinkError(reply?.error, "EOPNOTSUPP");
}

/** The kind of a link that exists, with its attributes; `undefined` for physical devices. */
export function readDevice(netlink: BlockingNetlink, link: string | number): LinkKindData | undefined {
  const [message] = netlink.run(getLink(link));
  return message === undefined ? undefined : decode(RTM_NEWLINK, message).attributes.linkInfo?.device;
}
