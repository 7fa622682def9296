/** vxlan in the own configuration of the executable of that name: its VNI, port, and the MAC that peers know it by. */
import type { ConfigObject } from "../../cni/config.ts";
import { DEFAULT_VXLAN_PORT } from "../../footprint.ts";
import type { InlineConf } from "../contract.ts";
import type { LocalNode } from "../node.ts";
import { DEFAULT_VNI, largestVni, type VxlanConf } from "./conf.ts";
import { type KnownVtep, vtepName } from "./overlay.ts";
import type { VxlanPeer } from "./peer.ts";

export function inline(config: ConfigObject, { subnets }: LocalNode): InlineConf<VxlanConf, VxlanPeer, KnownVtep> {
  const vni = config.optionalInteger("vni", { min: 1, max: largestVni(subnets) }) ?? DEFAULT_VNI;
  const port = config.optionalInteger("port", { min: 1, max: 65_535 }) ?? DEFAULT_VXLAN_PORT;
  // The peers' configuration names this node's VTEP by its hardware address, so it is stated here, too.
  const mac = config.optionalMac("mac");
  if (mac === undefined) throw config.invalid("mac", "the hardware address that peers know this node's VTEP by");
  const known = ([4, 6] as const).map((family) => ({ name: vtepName(family, vni), mac, device: undefined }));
  return { conf: { type: "vxlan", vni, port }, known, peers: { vni, port } };
}
