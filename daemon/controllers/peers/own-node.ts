/**
 * This node: its subnets and data derived from its Node object and the kernel, and its announcement to its peers. Pure.
 */

import { backendOf } from "../../../pkg/backend/backends.ts";
import type { BackendConf } from "../../../pkg/backend/contract.ts";
import type { NetConf } from "../../../pkg/backend/net-conf.ts";
import type { LocalNode } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { Announcement } from "../../../pkg/cluster/node/annotations.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { addressBits } from "../../../pkg/ip/address.ts";
import { contains, formatPrefix, overlaps, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import { RT_SCOPE } from "../../../pkg/netlink/route.ts";
import type { UnderlayChoice } from "./underlay.ts";

export interface OwnSubnets {
  /** Subnets in the cluster's networks, without overlaps, each with an address for a pod. */
  readonly subnets: readonly Prefix[];
  /** The other podCIDRs, each with the reason why no pod gets an address of it. */
  readonly unused: readonly string[];
}

/**
 * Space for a network address, a broadcast address, a gateway and a pod. host-local assigns no address of a smaller
 * subnet.
 */
const FEWEST_HOST_BITS = 2;

/** Returns this node's pod subnets, or in words the reason why there are none. */
export function ownSubnets(nodeName: string, own: ClusterNode | undefined, { networks }: NetConf): OwnSubnets | string {
  if (own === undefined) {
    return `there is no Node ${nodeName}: it is not registered yet, or --node-name differs from its name in the cluster`;
  }
  const { podCidrs } = own;
  if (podCidrs.length === 0) {
    return (
      `Node ${nodeName} has no spec.podCIDRs yet: kube-controller-manager assigns them ` +
      "(--allocate-node-cidrs and --cluster-cidr)"
    );
  }
  const inNetworks = podCidrs.filter((subnet) =>
    networks.some((network) => network.length <= subnet.length && contains(network, subnet.address)),
  );
  if (inNetworks.length === 0) {
    return (
      `Node ${nodeName}'s podCIDRs (${podCidrs.map(formatPrefix).join(", ")}) are outside the networks of net-conf.json ` +
      `(${networks.map(formatPrefix).join(", ")}); change either the podCIDRs or net-conf.json`
    );
  }
  const { subnets, unused } = sift(inNetworks);
  if (subnets.length > 0) return { subnets, unused };
  return (
    `no pod can have an address of Node ${nodeName}'s podCIDRs: ${unused.join("; ")}; give kube-controller-manager a smaller ` +
    "--node-cidr-mask-size and register the Node again"
  );
}

/** Removes unusable subnets. If two overlap, one contains the other, and the larger one is used. */
function sift(podCidrs: readonly Prefix[]): OwnSubnets {
  const subnets: Prefix[] = [];
  const unused: string[] = [];
  for (const [index, subnet] of podCidrs.entries()) {
    const larger = podCidrs.find(
      (other, at) =>
        at !== index &&
        overlaps(other, subnet) &&
        (other.length < subnet.length || (other.length === subnet.length && at < index)),
    );
    const isSmall = addressBits(subnet.address.family) - subnet.length < FEWEST_HOST_BITS;
    if (larger !== undefined) unused.push(`${formatPrefix(subnet)} is contained in ${formatPrefix(larger)}`);
    else if (isSmall) unused.push(`${formatPrefix(subnet)} has no address besides the gateway's`);
    else subnets.push(subnet);
  }
  return { subnets, unused };
}

export function localNode(
  name: string,
  subnets: readonly Prefix[],
  { link, ipv4, ipv6 }: UnderlayChoice,
  addresses: readonly LinkAddress[],
): LocalNode {
  const onLink = addresses.filter(({ index, scope }) => index === link.index && scope === RT_SCOPE.universe);
  return {
    name,
    subnets,
    underlay: {
      index: link.index,
      mtu: link.mtu,
      local: { ...(ipv4 && { 4: ipv4.local }), ...(ipv6 && { 6: ipv6.local }) },
      networks: onLink.map(({ prefix }) => prefix),
    },
  };
}

/**
 * Returns this node's announcement. A family is announced if the underlay has an address of it and the backend uses it.
 * The administrator's `public-ip-overwrite` annotations on the Node override the detected addresses.
 */
export function announcementOf(
  conf: BackendConf,
  node: LocalNode,
  own: ClusterNode,
  { ipv4, ipv6 }: UnderlayChoice,
  endpoints: DesiredState["endpoints"],
): Announcement {
  const { name, announcement } = backendOf(conf);
  const families = announcement.families(node, endpoints);
  const publicIp = families.includes(4) ? (own.publicIpOverwrite ?? ipv4?.announced) : undefined;
  const publicIpv6 = families.includes(6) ? (own.publicIpv6Overwrite ?? ipv6?.announced) : undefined;
  return {
    backend: { type: name, ...announcement.announce(conf, endpoints) },
    ...(publicIp && { publicIp }),
    ...(publicIpv6 && { publicIpv6 }),
  };
}
