/** Converts a Node of the cluster to a peer of the data path. Pure. */
import { backendNamed } from "../../../pkg/backend/backends.ts";
import type { Peer } from "../../../pkg/backend/node.ts";
import { DATA_ANNOTATION } from "../../../pkg/cluster/node/annotations.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import type { Address, Family } from "../../../pkg/ip/address.ts";

interface ReadPeer {
  readonly peer: Peer;
  readonly problems: readonly string[];
}

/** Caches the result for each Node: a pass needs all of them, and few change between two passes. */
const read = new WeakMap<ClusterNode, ReadPeer>();

/**
 * Returns the peer. Its addresses are those that it announces or, until it announces one, its InternalIPs. Its subnets
 * are exactly its podCIDRs.
 */
export function peerOf(node: ClusterNode): Peer {
  return readOnce(node).peer;
}

/** Returns, in words, the parts of the Node's announcement that its backend cannot read. */
export function announcedProblems(node: ClusterNode): readonly string[] {
  return readOnce(node).problems;
}

function readOnce(node: ClusterNode): ReadPeer {
  const known = read.get(node);
  if (known !== undefined) return known;
  const made = readPeer(node);
  read.set(node, made);
  return made;
}

function readPeer(node: ClusterNode): ReadPeer {
  const problems: string[] = [];
  const base = {
    name: node.name,
    subnets: node.podCidrs,
    addresses: [reachedBy(node, 4), reachedBy(node, 6)].flatMap((address) => (address === undefined ? [] : [address])),
    backendType: node.backend?.type,
  };
  const tell = (family: Family, problem: string) =>
    void problems.push(`annotation ${DATA_ANNOTATION[family]}: ${problem}; ignored`);
  return {
    peer: backendNamed(node.backend?.type)?.announcement.readPeer(base, node.backend ?? {}, tell) ?? base,
    problems,
  };
}

/** Returns all addresses from which its packets may arrive: announced ones and those of its Node. */
export function sourcesOf({ publicIp, publicIpv6, internalAddresses }: ClusterNode): readonly Address[] {
  return [publicIp, publicIpv6, ...internalAddresses].filter((address) => address !== undefined);
}

function reachedBy(node: ClusterNode, family: Family): Address | undefined {
  const announced = family === 4 ? node.publicIp : node.publicIpv6;
  return announced ?? node.internalAddresses.find((address) => address.family === family);
}
