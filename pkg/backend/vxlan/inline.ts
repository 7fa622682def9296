/** vxlan in the executable's own configuration: its VNI, port, and the MAC by which peers know this node. */
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
  // The peers' configuration has the hardware address of this node's VTEP, so this configuration must have it, too.
  const mac = config.optionalMac("mac");
  if (mac === undefined) throw config.invalid("mac", "the hardware address of this node's VTEP as peers know it");
  const known = ([4, 6] as const).map((family) => ({ name: vtepName(family, vni), mac, device: undefined }));
  return { conf: { type: "vxlan", vni, port }, known, peers: { vni, port } };
}
