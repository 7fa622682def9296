/** The data of a peer that announces vxlan, and its format in the node table. */
import type { ConfigObject } from "../../cni/config.ts";
import type { Family } from "../../ip/address.ts";
import type { Peer } from "../node.ts";

export interface VxlanPeer extends Peer {
  /** The VNI and UDP port on which it receives VXLAN packets. Undefined means the cluster's. */
  readonly vni?: number | undefined;
  readonly port?: number | undefined;
  /** The hardware addresses of its VTEPs, by the family of the underlay. */
  readonly vtepMacs: Partial<Readonly<Record<Family, string>>>;
}

export function decodePeer(base: Peer, object: ConfigObject): VxlanPeer {
  const macs = object.object("vtepMacs");
  const [mac4, mac6] = [macs.optionalMac("4"), macs.optionalMac("6")];
  const vni = object.optionalInteger("vni", { min: 0 });
  const port = object.optionalInteger("port", { min: 0, max: 65_535 });
  return {
    ...base,
    ...(vni !== undefined && { vni }),
    ...(port !== undefined && { port }),
    vtepMacs: { ...(mac4 === undefined ? {} : { 4: mac4 }), ...(mac6 === undefined ? {} : { 6: mac6 }) },
  };
}
