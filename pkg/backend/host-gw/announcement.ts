/** A host-gw node announces only its addresses. */
import type { Announcement } from "../contract.ts";

export const announcement: Announcement = {
  announce: () => ({}),
  families: ({ subnets, underlay }) =>
    ([4, 6] as const).filter(
      (family) =>
        subnets.some(({ address }) => address.family === family) ||
        // IPv4 pods are reached by the IPv6 address of a node without an IPv4 address.
        (family === 6 && underlay.local[4] === undefined),
    ),
  readPeer: (base) => base,
  encodePeer: () => ({}),
  fileKeys: {},
  announceFor: () => ({}),
};
