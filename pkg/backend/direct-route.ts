/** Plain routes: a peer's subnet is routed to the peer itself, which must be on the same link. */
import { formatAddress } from "../ip/address.ts";
import { contains, formatPrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import type { PeerRoute } from "../reconcile/data-path.ts";
import type { PeerEntries, Sending } from "./contract.ts";
import type { Peer, Underlay } from "./node.ts";
import type { PeerProblem } from "./state.ts";

/** A plain route to a peer on the same link; else why there is none. */
export function directRoute(underlay: Underlay, peer: Peer, subnet: Prefix): PeerRoute | PeerProblem {
  const { family } = subnet.address;
  // The kernel has no IPv6 routes by an IPv4 gateway.
  if (family === 6 && underlay.local[6] === undefined) {
    const reason = `this node's underlay has no IPv6 address to route ${formatPrefix(subnet)} by`;
    return { peer: peer.name, trouble: "Underlay", reason: `${reason}; use the backend "auto" or "vxlan"` };
  }
  // Where this node has no IPv4 address, IPv4 routes lead by the peer's IPv6 one (RFC 5549).
  const carrier = underlay.local[family] === undefined ? 6 : family;
  const gateway = peer.addresses.find((address) => address.family === carrier);
  if (gateway === undefined) {
    const reason = `no IPv${carrier} address is known to route ${formatPrefix(subnet)} to`;
    return { peer: peer.name, trouble: "NotAnnounced", reason };
  }
  const isOnLink = underlay.networks.some((network) => contains(networkOf(network), gateway));
  if (!isOnLink) {
    const reason =
      `${formatAddress(gateway)} is not on this node's link: ${formatPrefix(subnet)} cannot be routed there by host-gw; ` +
      'use the backend "auto" or "vxlan", or an interface on the peer\'s network (--iface)';
    return { peer: peer.name, trouble: "OffLink", reason };
  }
  return { destination: subnet, gateway, by: { index: underlay.index } };
}

/** Plain routes to all of `sending`, and, once for each peer, why there are none. */
export function directRoutes(
  underlay: Underlay,
  sending: readonly Sending<Peer>[],
): { readonly entries: readonly PeerEntries[]; readonly problems: readonly PeerProblem[] } {
  const problems: PeerProblem[] = [];
  const entries = sending.map(({ peer, subnets }): PeerEntries => {
    const ways = subnets.map((subnet) => directRoute(underlay, peer, subnet));
    const troubles = ways.flatMap((way) => ("trouble" in way ? [[way.reason, way] as const] : []));
    problems.push(...new Map(troubles).values());
    return { peer: peer.name, routes: ways.flatMap((way) => ("trouble" in way ? [] : [way])) };
  });
  return { entries, problems };
}
