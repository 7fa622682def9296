/** vxlan: pods' packets in UDP packets (RFC 7348), wire-compatible with flannel's backend of that name. */
import type { Backend } from "../contract.ts";
import { announcement } from "./announcement.ts";
import { channels } from "./channels.ts";
import { readConf, type VxlanConf, WORDS } from "./conf.ts";
import { inline } from "./inline.ts";
import { inspection } from "./inspection.ts";
import { manual } from "./manual.ts";
import { type KnownVtep, knownVteps, type Overlay } from "./overlay.ts";
import { decodePeer, type VxlanPeer } from "./peer.ts";
import { plan } from "./plan.ts";

export const vxlan: Backend<VxlanConf, VxlanPeer, KnownVtep, Overlay> = {
  name: "vxlan",
  words: WORDS,
  readConf,
  executable: "vxlan",
  inline,
  // A packet to a node's own address uses the underlay, where pods' addresses are unknown.
  seesPods: false,
  takesPlainRoutes: true,
  reachesUnannounced: false,
  routesDirectly: ({ directRouting }) => directRouting === true,
  decodePeer,
  known: knownVteps,
  plan,
  manual,
  announcement,
  channels,
  inspection,
};
