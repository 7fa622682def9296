/** What there is to say of VXLAN devices, and of packets that go through them. */
import { addressToBytes } from "../../ip/address.ts";
import type { Inspection } from "../inspection.ts";
import { CHECKS } from "./checks.ts";
import type { VxlanConf } from "./conf.ts";
import { VXLAN_OVERHEAD, vtepOf } from "./overlay.ts";
import { passThrough } from "./passage.ts";

export const inspection: Inspection<VxlanConf> = {
  kinds: ["vxlan"],
  settings: ({ vni, port }) => ({ data: { vni, port }, text: `VNI ${vni}, UDP port ${port}` }),
  describe(device) {
    const { vni, port } = vtepOf(device);
    return { word: "vtep", data: { vni, port }, text: `VNI ${vni}, UDP port ${port}` };
  },
  made(device, index) {
    const { name, mac, mtu, vni, port, local, underlayIndex, kind } = vtepOf(device);
    const bytes = addressToBytes(local);
    return {
      ...{ index, name, mac, mtu, kind, alias: "", isUp: false, isOperational: false },
      ...{ isPromiscuous: false, isAllMulticast: false, txQueueLength: 1000, masterIndex: 0, peerIndex: 0 },
      ...{ bridge: undefined, port: undefined },
      vxlan: {
        ...{ vni, port, link: underlayIndex, learning: 0 },
        ...(local.family === 4 ? { local: bytes } : { local6: bytes }),
      },
    };
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
