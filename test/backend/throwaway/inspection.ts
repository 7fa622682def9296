/** The texts about the backend for people. */
import type { Inspection } from "../../../pkg/backend/inspection.ts";
import { inspection as vxlan } from "../../../pkg/backend/vxlan/inspection.ts";
import { passThrough } from "../../../pkg/backend/vxlan/passage.ts";
import type { VtepDevice } from "../../../pkg/kernel/vtep-device.ts";
import type { ThrowawayConf, ThrowawayPeer } from "./main.ts";

export const inspection: Inspection<ThrowawayConf> = {
  kinds: ["vxlan"],
  settings: ({ tag }) => ({ data: { tag }, text: `tag ${tag}` }),
  checks: [
    {
      name: "throwaway-tag",
      group: "data path",
      about: "peers have this node's tag",
      judge: ({ peers, desired }) => {
        const own = desired?.dataPath.devices.find(({ backend }) => backend === "throwaway") as VtepDevice | undefined;
        return (peers as readonly ThrowawayPeer[])
          .filter(({ station }) => own !== undefined && station !== undefined && station.tag !== own.vni)
          .map(({ name, station }) => ({
            severity: "error" as const,
            seen: `${name} has the tag ${station?.tag}, and this node ${own?.vni}`,
            why: "their pods do not reach each other",
            advice: "give both the same Tag in net-conf.json",
          }));
      },
    },
  ],
  devices: {
    ...vxlan.devices,
    word: "station",
    describe: (device) => ({ data: {}, text: `tag ${(device as VtepDevice).vni}` }),
    leadsBy: () => false,
    pass: (passage) =>
      passThrough(passage, {
        packet: `a throw-away packet (tag ${passage.device.vxlan?.vni})`,
        within: "a throw-away packet",
        overhead: { 4: 100, 6: 100 },
      }),
  },
};
