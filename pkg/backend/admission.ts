/**
 * Which of the subnets that peers claim are believed: those inside the cluster's networks that overlap nobody else's, of
 * peers that are somewhere else. A Node object with a wrong podCIDR must not draw the traffic of others.
 */
import { formatAddress, isSameAddress } from "../ip/address.ts";
import { contains, formatPrefix, overlaps, type Prefix } from "../ip/prefix.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { PeerProblem, PeerTrouble } from "./state.ts";

interface Claim {
  readonly peer: Peer | undefined;
  readonly subnet: Prefix;
}

/** This node's own subnets come first, then the peers' in the order of their names. */
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
      // Nodes may have subnets of a family that this network does not serve: nobody's fault.
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
          `lies outside the cluster's networks (${networks.map(formatPrefix).join(", ")})`,
        );
    }
  }
  for (const [first, second] of overlapping(claims)) {
    // Of two claims that overlap the earlier one in the order above stands.
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

/** Virtual machines behind one NAT each have the same address there; or a Node object outlived its machine. */
function sharedAddress({ underlay }: LocalNode, peer: Peer): string | undefined {
  const own = Object.values(underlay.local);
  const shared = peer.addresses.find((address) => own.some((other) => isSameAddress(address, other)));
  if (shared === undefined) return undefined;
  return (
    `its address ${formatAddress(shared)} is this node's own: no packet gets from here to there; let one of the two ` +
    "announce another (--iface, --public-ip), or delete its Node if the machine is gone"
  );
}

/** Pairs that overlap. Sorted by address a claim can only overlap the widest one before it: no need to try all pairs. */
function overlapping(claims: readonly Claim[]): (readonly [Claim, Claim])[] {
  const order = new Map(claims.map((claim, at) => [claim, at]));
  const sorted = [...claims].sort((a, b) => compare(a.subnet, b.subnet));
  const pairs: (readonly [Claim, Claim])[] = [];
  let standing: Claim | undefined;
  for (const claim of sorted) {
    if (standing === undefined || !overlaps(standing.subnet, claim.subnet)) {
      standing = claim;
      continue;
    }
    const isEarlier = (order.get(standing) ?? 0) < (order.get(claim) ?? 0);
    pairs.push(isEarlier ? [standing, claim] : [claim, standing]);
    if (!isEarlier) standing = claim;
  }
  return pairs;
}

function compare(a: Prefix, b: Prefix): number {
  if (a.address.family !== b.address.family) return a.address.family - b.address.family;
  if (a.address.value !== b.address.value) return a.address.value < b.address.value ? -1 : 1;
  return a.length - b.length;
}
