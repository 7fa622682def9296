import { HANDED_BACK, type Table } from "../table.ts";

const RANGES = [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]];
const DUAL = { type: "host-local", ranges: RANGES, routes: [{ dst: "0.0.0.0/0" }] };
const conf = (more: object = {}) => ({ master: "up0", vlanId: 100, ipam: DUAL, ...more });
const inVm = { uplink: true, inVm: true };

export const table: Table = {
  plugin: "vlan",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: conf(), ...inVm, steps: HANDED_BACK },
    { name: "both families", conf: conf(), versions: ["0.2.0", "0.4.0", "1.1.0"], ...inVm },
    { name: "the largest number", conf: conf({ vlanId: 4094 }), ...inVm },
    { name: "no number", conf: conf({ vlanId: undefined }), ...inVm },
    { name: "a smaller MTU", conf: conf({ mtu: 1400 }), ...inVm },
    { name: "the name of the host's link", conf: conf(), ifName: "up0", ...inVm },
    { name: "a reserved number", conf: conf({ vlanId: 4095 }), uplink: true, steps: ["ADD"] },
    { name: "no master", conf: conf({ master: undefined }), uplink: true, steps: ["ADD"] },
    { name: "an unknown master", conf: conf({ master: "up9" }), uplink: true, steps: ["ADD"] },
    { name: "a larger MTU", conf: conf({ mtu: 1501 }), uplink: true, steps: ["ADD"] },
    {
      name: "another VLAN, which CHECK detects",
      conf: conf(),
      steps: ["ADD", "CHECK", { verb: "CHECK", conf: { vlanId: 101 } }, "DEL"],
      ...inVm,
    },
    { name: "a pod that is gone", conf: conf(), steps: ["ADD", { verb: "DEL", pod: "gone" }], ...inVm },
  ],
};
