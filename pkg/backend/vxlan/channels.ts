/** The channels of a vxlan node: the overlays for which it has a VTEP. */
import type { Channels } from "../contract.ts";
import type { VxlanConf } from "./conf.ts";
import { type KnownVtep, type Overlay, overlayOf, vtepOf } from "./overlay.ts";
import type { VxlanPeer } from "./peer.ts";
import { joined } from "./plan.ts";

export const channels: Channels<VxlanConf, VxlanPeer, KnownVtep, Overlay> = {
  of: (known) => known.flatMap(({ device }) => (device?.isOurs === true ? [overlayOf(device)] : [])),
  in: (devices) => devices.map((device) => overlayOf(vtepOf(device))),
  to: (conf, peer) => [joined(conf, peer)],
};
