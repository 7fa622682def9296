/** Plain routes: a peer's subnet is routed to the peer itself, which must be on the same link. */
import { formatAddress } from "../ip/address.ts";
import { contains, formatPrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import type { PeerRoute } from "../reconcile/data-path.ts";
import type { Sending } from "./contract.ts";
import type { Peer, Underlay } from "./node.ts";
import type { PeerEntries, PeerProblem } from "./state.ts";

/** Returns a plain route to a peer on the same link, or the reason why there is none. */
export function directRoute(underlay: Underlay, peer: Peer, subnet: Prefix): PeerRoute | PeerProblem {
  const { family } = subnet.address;
  // The kernel has no IPv6 routes by an IPv4 gateway.
  if (family === 6 && underlay.local[6] === undefined) {
    const reason = `this node's underlay has no IPv6 address, which is needed to route ${formatPrefix(subnet)}`;
    return { peer: peer.name, trouble: "Underlay", reason: `${reason}; use the backend "auto" or "vxlan"` };
  }
  // If this node has no IPv4 address, IPv4 routes use the peer's IPv6 address as gateway (RFC 5549).
  const carrier = underlay.local[family] === undefined ? 6 : family;
  const gateway = peer.addresses.find((address) => address.family === carrier);
  if (gateway === undefined) {
    const reason = `it has announced no IPv${carrier} address, which is needed to route ${formatPrefix(subnet)}`;
    return { peer: peer.name, trouble: "NotAnnounced", reason };
  }
  const isOnLink = underlay.networks.some((network) => contains(networkOf(network), gateway));
  if (!isOnLink) {
    const reason =
      `${formatAddress(gateway)} is not on this node's link: ${formatPrefix(subnet)} cannot be routed to it by ` +
      'host-gw: use the backend "auto" or "vxlan", or an interface on the peer\'s network (--iface)';
    return { peer: peer.name, trouble: "OffLink", reason };
  }
  return { destination: subnet, gateway, by: { index: underlay.index } };
}

/** Returns plain routes to all of `sending` and, once for each peer, the reasons why routes are missing. */
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
