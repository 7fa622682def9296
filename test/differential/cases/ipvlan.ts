import { HANDED_BACK, type Table } from "../table.ts";

const RANGES = [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]];
const DUAL = { type: "host-local", ranges: RANGES, routes: [{ dst: "0.0.0.0/0" }] };
const conf = (more: object = {}) => ({ master: "up0", ipam: DUAL, ...more });
const CHAINED = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "up0" }],
  ips: [{ address: "10.22.0.7/24", gateway: "10.22.0.1" }],
  routes: [{ dst: "0.0.0.0/0" }],
};
const inVm = { uplink: true, inVm: true };

export const table: Table = {
  plugin: "ipvlan",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: conf(), ...inVm, steps: HANDED_BACK },
    { name: "both families", conf: conf(), versions: ["0.2.0", "0.4.0", "1.1.0"], ...inVm },
    { name: "the default route's link", conf: conf({ master: undefined }), ...inVm },
    { name: "l3", conf: conf({ mode: "l3" }), ...inVm },
    { name: "l3s", conf: conf({ mode: "l3s" }), ...inVm },
    { name: "a smaller MTU", conf: conf({ mtu: 1400 }), ...inVm },
    { name: "the name of the host's link", conf: conf(), ifName: "up0", ...inVm },
    {
      name: "after another plugin",
      conf: { prevResult: CHAINED },
      steps: ["ADD", "DEL", "DEL"],
      ...inVm,
    },
    { name: "an unknown mode", conf: conf({ mode: "l4" }), uplink: true, steps: ["ADD"] },
    { name: "an unknown master", conf: conf({ master: "up9" }), uplink: true, steps: ["ADD", "DEL"] },
    { name: "a pod that is gone", conf: conf(), steps: ["ADD", { verb: "DEL", pod: "gone" }], ...inVm },
  ],
};
