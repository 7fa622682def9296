/** From a Node of the cluster to a peer of the data path. Pure. */
import type { Peer } from "../../../pkg/backend/node.ts";
import type { NodeBackend } from "../../../pkg/cluster/node/annotations.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import type { Address, Family } from "../../../pkg/ip/address.ts";

/**
 * A peer is reached by the address that it announces, or, while it has announced none, by its InternalIP. Its subnets
 * are its podCIDRs and nothing else.
 */
export function peerOf(node: ClusterNode): Peer {
  return {
    name: node.name,
    subnets: node.podCidrs,
    addresses: [reachedBy(node, 4), reachedBy(node, 6)].flatMap((address) => (address === undefined ? [] : [address])),
    backendType: node.backend?.type,
    vni: (node.backend?.vtep ?? node.backend?.vtepV6)?.vni,
    port: node.backend?.port,
    vtepMacs: vtepMacs(node.backend),
  };
}

/** All addresses that its packets may come from: what it announces, and what its Node has. */
export function sourcesOf({ publicIp, publicIpv6, internalAddresses }: ClusterNode): readonly Address[] {
  return [publicIp, publicIpv6, ...internalAddresses].filter((address) => address !== undefined);
}

function reachedBy(node: ClusterNode, family: Family): Address | undefined {
  const announced = family === 4 ? node.publicIp : node.publicIpv6;
  return announced ?? node.internalAddresses.find((address) => address.family === family);
}

function vtepMacs(backend: NodeBackend | undefined): Peer["vtepMacs"] {
  return {
    ...(backend?.vtep && { 4: backend.vtep.mac }),
    ...(backend?.vtepV6 && { 6: backend.vtepV6.mac }),
  };
}
