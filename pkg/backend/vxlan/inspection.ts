/** Describes VXLAN devices, and the path of packets through them. */
import { addressToBytes } from "../../ip/address.ts";
import type { Inspection } from "../inspection.ts";
import { CHECKS } from "./checks.ts";
import type { VxlanConf } from "./conf.ts";
import { type Overlay, VXLAN_OVERHEAD, vtepOf } from "./overlay.ts";
import { passThrough } from "./passage.ts";

const describe = ({ vni, port }: Overlay) => ({ data: { vni, port }, text: `VNI ${vni}, UDP port ${port}` });

export const inspection = {
  kinds: ["vxlan"],
  checks: CHECKS,
  settings: describe,
  underlayMtu: ({ underlayMtu }) => underlayMtu,
  devices: {
    word: "vtep",
    describe: (device) => describe(vtepOf(device)),
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
    leadsBy: ({ vxlan }) => vxlan !== undefined,
    pass: (passage) =>
      passThrough(passage, {
        packet: `a VXLAN packet (VNI ${passage.device.vxlan?.vni}, UDP port ${passage.device.vxlan?.port})`,
        within: "VXLAN",
        overhead: VXLAN_OVERHEAD,
      }),
  },
} satisfies Inspection<VxlanConf>;
