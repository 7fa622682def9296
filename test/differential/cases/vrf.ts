import { HANDED_BACK, type Table } from "../table.ts";

const addresses = [
  { address: "10.9.0.2/24", gateway: "10.9.0.1" },
  { address: "fd00:9::2/64", gateway: "fd00:9::1" },
];
const ipam = { type: "static", addresses, routes: [{ dst: "0.0.0.0/0" }, { dst: "fd77::/64" }] };
const common = { before: [{ type: "bridge", bridge: "cni0", ipam }], inVm: true } as const;
const conf = { vrfname: "blue" };

export const table: Table = {
  plugin: "vrf",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf, ...common, steps: HANDED_BACK },
    { name: "both families", conf, versions: ["0.3.1", "0.4.0", "1.1.0"], ...common },
    { name: "a configured table", conf: { ...conf, table: 1234 }, ...common },
    {
      name: "an existing VRF",
      conf,
      ...common,
      setup: [{ in: "pod", run: "ip link add blue type vrf table 7; ip link set blue up" }],
    },
    {
      name: "another VRF",
      conf,
      ...common,
      setup: [{ in: "pod", run: "ip link add red type vrf table 1; ip link set red up" }],
    },
    {
      name: "an interface removed from the VRF",
      conf,
      ...common,
      steps: ["ADD", { in: "pod", run: "ip link set eth0 nomaster" }, "CHECK", "DEL"],
    },
    { name: "a pod that is gone", conf, ...common, steps: ["ADD", { verb: "DEL", pod: "gone" }] },
    { name: "no name", conf: {}, ...common, inVm: false, steps: ["ADD"] },
    { name: "no prevResult", conf, steps: ["ADD"] },
  ],
};
