import { HANDED_BACK, type Table } from "../table.ts";

const RANGES = [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]];
const DUAL = { type: "host-local", ranges: RANGES, routes: [{ dst: "10.99.0.0/16" }] };

export const table: Table = {
  plugin: "dummy",
  cases: [
    {
      name: "added by weft, checked and deleted by the reference",
      conf: { ipam: DUAL },
      steps: HANDED_BACK,
      inVm: true,
    },
    { name: "both families", conf: { ipam: DUAL }, versions: ["0.2.0", "0.4.0", "1.1.0"], inVm: true },
    { name: "no ipam", conf: {}, steps: ["ADD"] },
    {
      name: "a link that is down, which CHECK detects",
      conf: { ipam: DUAL },
      steps: ["ADD", "CHECK", { in: "pod", run: "ip link set eth0 down" }, "CHECK", "DEL"],
      inVm: true,
    },
    {
      name: "a pod that is gone",
      conf: { ipam: DUAL },
      steps: ["ADD", { verb: "DEL", pod: "gone" }],
      inVm: true,
    },
  ],
};
