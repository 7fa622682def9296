/** host-gw: a peer's subnet is routed to the peer itself, which must be on the same link. flannel's backend of that name. */
import type { Family } from "../../ip/address.ts";
import { type Backend, NOTHING } from "../contract.ts";
import { directRoutes } from "../direct-route.ts";
import { inspection } from "./inspection.ts";

export const hostGw: Backend = {
  name: "host-gw",
  words: [{ word: "host-gw", meaning: "by plain routes, to nodes on the same link alone" }],
  keys: [],
  readConf: () => ({ type: "host-gw" }),
  executable: "host-gw",
  readInline: () => ({ conf: { type: "host-gw" }, known: [] }),
  takesPlainRoutes: true,
  seesPods: true,
  reachesUnannounced: true,
  // There is no other way.
  routesDirectly: () => false,
  announce: () => ({}),
  families: ({ subnets, underlay }) =>
    ([4, 6] as const).filter(
      (family: Family) =>
        subnets.some(({ address }) => address.family === family) ||
        // IPv4 pods are reached by the IPv6 address of a node that has no other.
        (family === 6 && underlay.local[4] === undefined),
    ),
  readPeer: (base) => base,
  encodePeer: () => ({}),
  decodePeer: (base) => base,
  fileKeys: {},
  announceFor: () => ({}),
  known: () => [],
  channelsOf: () => [],
  channelsIn: () => [],
  channelsTo: () => [],
  plan: ({ node, sending }) => ({ ...NOTHING, ...directRoutes(node.underlay, sending) }),
  inspection,
};
