/**
 * Decides which of the subnets that peers claim are accepted: those inside the cluster's networks that do not overlap
 * another node's, of peers that do not have this node's address. A Node object with a wrong podCIDR must not attract
 * traffic for other nodes.
 */
import { formatAddress, isSameAddress } from "../ip/address.ts";
import { contains, formatPrefix, overlaps, type Prefix } from "../ip/prefix.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { PeerProblem, PeerTrouble } from "./state.ts";

interface Claim {
  readonly peer: Peer | undefined;
  readonly subnet: Prefix;
}

/** This node's own subnets take precedence, then the peers' in the order of their names. */
export function admitPeers(
  networks: readonly Prefix[],
  node: LocalNode,
  peers: readonly Peer[],
): { readonly peers: readonly Peer[]; readonly problems: readonly PeerProblem[] } {
  const problems: PeerProblem[] = [];
  const families = new Set(networks.map(({ address }) => address.family));
  const refused = new Set<Prefix>();
  const refuse = (peer: Peer, subnet: Prefix, trouble: PeerTrouble, reason: string) => {
    refused.add(subnet);
    problems.push({
      peer: peer.name,
      trouble,
      reason: `its subnet ${formatPrefix(subnet)} ${reason}: it gets no route`,
    });
  };
  const claims: Claim[] = node.subnets.map((subnet) => ({ peer: undefined, subnet }));
  for (const peer of peers) {
    const shared = sharedAddress(node, peer);
    if (shared !== undefined) {
      for (const subnet of peer.subnets) refused.add(subnet);
      problems.push({ peer: peer.name, trouble: "SameAddress", reason: shared });
      continue;
    }
    for (const subnet of peer.subnets) {
      // Nodes may have subnets of a family that this network does not serve. That is not an error.
      if (!families.has(subnet.address.family)) {
        refused.add(subnet);
        continue;
      }
      const isInside = networks.some((network) => network.length <= subnet.length && contains(network, subnet.address));
      if (isInside) claims.push({ peer, subnet });
      else
        refuse(
          peer,
          subnet,
          "ForeignSubnet",
          `is outside the cluster's networks (${networks.map(formatPrefix).join(", ")})`,
        );
    }
  }
  for (const [first, second] of overlapping(claims)) {
    // If two claims overlap, the earlier one in the order above is accepted.
    if (second.peer !== undefined)
      refuse(
        second.peer,
        second.subnet,
        "OverlappingSubnet",
        `overlaps ${formatPrefix(first.subnet)} of ${first.peer?.name ?? "this node"}`,
      );
  }
  return {
    peers: peers.map((peer) => ({ ...peer, subnets: peer.subnets.filter((subnet) => !refused.has(subnet)) })),
    problems,
  };
}

/**
 * Returns the reason why a peer with one of this node's addresses cannot be served. Virtual machines behind one NAT may
 * have the same address, or a Node object may have outlived its machine.
 */
function sharedAddress({ underlay }: LocalNode, peer: Peer): string | undefined {
  const own = Object.values(underlay.local);
  const shared = peer.addresses.find((address) => own.some((other) => isSameAddress(address, other)));
  if (shared === undefined) return undefined;
  return (
    `its address ${formatAddress(shared)} is this node's own, so no packet can reach it: let one of the two nodes ` +
    "announce another address (--iface, --public-ip), or delete its Node if the machine is gone"
  );
}

/**
 * Returns the pairs of claims that overlap. If claims are sorted by address, a claim can only overlap the widest
 * earlier one, so not every pair is compared.
 */
function overlapping(claims: readonly Claim[]): (readonly [Claim, Claim])[] {
  const order = new Map(claims.map((claim, at) => [claim, at]));
  const sorted = [...claims].sort((a, b) => compare(a.subnet, b.subnet));
  const pairs: (readonly [Claim, Claim])[] = [];
  let widest: Claim | undefined;
  for (const claim of sorted) {
    if (widest === undefined || !overlaps(widest.subnet, claim.subnet)) {
      widest = claim;
      continue;
    }
    const isEarlier = (order.get(widest) ?? 0) < (order.get(claim) ?? 0);
    pairs.push(isEarlier ? [widest, claim] : [claim, widest]);
    if (!isEarlier) widest = claim;
  }
  return pairs;
}

function compare(a: Prefix, b: Prefix): number {
  if (a.address.family !== b.address.family) return a.address.family - b.address.family;
  if (a.address.value !== b.address.value) return a.address.value < b.address.value ? -1 : 1;
  return a.length - b.length;
}
