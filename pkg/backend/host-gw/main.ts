/**
 * host-gw: a peer's subnet is routed to the peer itself, which must be on the same link. It is flannel's backend of
 * that name.
 */
import type { Backend } from "../contract.ts";
import { directRoutes } from "../direct-route.ts";
import { announcement } from "./announcement.ts";
import { channels } from "./channels.ts";
import { inspection } from "./inspection.ts";
import { manual } from "./manual.ts";

const CONF = { type: "host-gw" };

export const hostGw: Backend = {
  name: "host-gw",
  words: ["host-gw"],
  readConf: () => CONF,
  executable: "host-gw",
  inline: () => ({ conf: CONF, known: [] }),
  takesPlainRoutes: true,
  seesPods: true,
  reachesUnannounced: true,
  plan: ({ node, sending }) => directRoutes(node.underlay, sending),
  manual,
  announcement,
  channels,
  inspection,
};
