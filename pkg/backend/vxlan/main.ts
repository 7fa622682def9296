/** vxlan: pods' packets in UDP packets (RFC 7348), wire-compatible with flannel's backend of that name. */
import { formatMac, parseMac } from "../../ip/mac.ts";
import type { Backend, Endpoints } from "../contract.ts";
import { announce, announceFor, decodePeer, encodePeer, readPeer, type VxlanPeer } from "./announcement.ts";
import { KEYS, readConf, type VxlanConf, WORDS } from "./conf.ts";
import { readInline } from "./inline.ts";
import { inspection } from "./inspection.ts";
import { type KnownVtep, knownVteps, type Overlay, overlayOf } from "./overlay.ts";
import { joined, plan } from "./plan.ts";

const vtepMac = (text: string) => formatMac(parseMac(text));

export const vxlan: Backend<VxlanConf, VxlanPeer, KnownVtep, Overlay> = {
  name: "vxlan",
  words: WORDS,
  keys: KEYS,
  readConf,
  executable: "vxlan",
  readInline,
  // A packet to a node's own address goes by the underlay, where a pod's address is unknown.
  seesPods: false,
  takesPlainRoutes: true,
  reachesUnannounced: false,
  routesDirectly: ({ directRouting }) => directRouting === true,
  announce,
  families: (_node, endpoints: Endpoints) => ([4, 6] as const).filter((family) => endpoints[family] !== undefined),
  readPeer,
  encodePeer,
  decodePeer,
  fileKeys: { vtepMAC: vtepMac, vtepMACv6: vtepMac },
  announceFor,
  known: knownVteps,
  channelsOf: (known) => known.flatMap(({ device }) => (device?.isOurs === true ? [overlayOf(device)] : [])),
  channelsIn: (devices) => (devices as readonly unknown[] as readonly Overlay[]).map(overlayOf),
  channelsTo: (conf, peer) => [joined(conf, peer)],
  plan,
  inspection,
};
