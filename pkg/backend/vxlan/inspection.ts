/** What there is to say of VXLAN devices, and of packets that go through them. */
import type { Inspection } from "../inspection.ts";
import { CHECKS, vtepOf } from "./checks.ts";
import type { VxlanConf } from "./conf.ts";
import { VXLAN_OVERHEAD } from "./overlay.ts";
import { passThrough } from "./passage.ts";

export const inspection: Inspection<VxlanConf> = {
  kinds: ["vxlan"],
  settings: ({ vni, port }) => ({ data: { vni, port }, text: `VNI ${vni}, UDP port ${port}` }),
  describe(device) {
    const { vni, port } = vtepOf(device);
    return { word: "vtep", data: { vni, port }, text: `VNI ${vni}, UDP port ${port}` };
  },
  underlayMtu: ({ underlayMtu }) => underlayMtu,
  checks: CHECKS,
  leadsBy: ({ vxlan }) => vxlan !== undefined,
  pass: (passage) =>
    passThrough(passage, {
      packet: `a VXLAN packet (VNI ${passage.device.vxlan?.vni}, UDP port ${passage.device.vxlan?.port})`,
      within: "VXLAN",
      overhead: VXLAN_OVERHEAD,
    }),
};
