/** Derives the settings for serving Services on this node from its Node, its addresses and weftd's flags. Pure. */
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { type Address, addressBits } from "../../../pkg/ip/address.ts";
import { contains, type Prefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import type { NodeSettings } from "../../../pkg/services/frontend.ts";
import type { NodeFacts, ReservedAddress } from "../../../pkg/services/node-facts.ts";
import { nodePortAddresses } from "../../../pkg/services/node-port-addresses.ts";
import type { Options } from "../../options.ts";

export interface NodeSight {
  readonly options: Pick<Options, "nodeName" | "nodeportAddresses" | "externalIps" | "masqueradeAll" | "masqueradeBit">;
  /** Undefined if the cluster has no Node of this name. */
  readonly own: ClusterNode | undefined;
  /** The addresses on this node's links, except loopback. */
  readonly local: readonly Address[];
  /** Addresses of local pods outside the node's podCIDRs. */
  readonly outsidePods: readonly Address[];
  readonly apiServers: readonly ReservedAddress[];
  readonly serviceRanges: readonly Prefix[];
  readonly isLoopbackGuarded: boolean;
}

const IPV6_LINK_LOCAL = parseSubnet("fe80::/10");

export function nodeFacts({ options, own, local, apiServers, isLoopbackGuarded }: NodeSight): NodeFacts {
  const internal = own?.internalAddresses ?? [];
  return {
    name: options.nodeName,
    zone: own?.zone,
    // Each pod's link has a link-local address, to which no source range refers.
    addresses: local.filter((address) => !contains(IPV6_LINK_LOCAL, address)),
    nodePortAddresses: nodePortAddresses(options.nodeportAddresses, { internal, local, isLoopbackGuarded }),
    reserved: apiServers,
    externalIPs: options.externalIps,
  };
}

export function nodeSettings({ options, own, outsidePods, serviceRanges }: NodeSight): NodeSettings {
  const { masqueradeAll, masqueradeBit } = options;
  const hosts = outsidePods.map((address): Prefix => ({ address, length: addressBits(address.family) }));
  return { localPods: [...(own?.podCidrs ?? []), ...hosts], serviceRanges, masqueradeAll, masqueradeBit };
}
