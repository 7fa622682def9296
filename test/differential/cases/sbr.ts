import { HANDED_BACK, type Table } from "../table.ts";

/** Another interface, which has the default route. */
const setup = [
  {
    in: "pod",
    run: `ip link add eth0 type veth peer name far0; ip link set far0 up; ip link set eth0 up
ip address add 10.9.0.2/24 dev eth0; ip route add default via 10.9.0.1`,
  },
] as const;
const addresses = [
  { address: "10.9.1.2/24", gateway: "10.9.1.1" },
  { address: "fd00:9:1::2/64", gateway: "fd00:9:1::1" },
];
const routes = [{ dst: "10.77.0.0/16" }, { dst: "fd77::/64" }];
const bridge = (ipam: object) => [{ type: "bridge", bridge: "cni0", ipam: { type: "static", ...ipam } }];
const common = { ifName: "net1", setup, before: bridge({ addresses, routes }) } as const;

export const table: Table = {
  plugin: "sbr",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: {}, ...common, steps: HANDED_BACK },
    { name: "two families", conf: {}, versions: ["0.3.0", "0.4.0", "1.1.0"], ...common },
    {
      name: "IPv4 alone",
      conf: {},
      ...{ ...common, before: bridge({ addresses: addresses.slice(0, 1), routes: routes.slice(0, 1) }) },
    },
    { name: "a configured table", conf: { table: 1234 }, ...common },
    { name: "a configured table, below 256", conf: { table: 77 }, ...common },
    {
      name: "tables that rules use",
      conf: {},
      ...{ ...common, setup: [...setup, { in: "pod", run: "ip rule add from 192.0.2.7 table 100" }] },
    },
    {
      name: "an interface that is gone",
      conf: { table: 1234 },
      ...common,
      steps: ["ADD", { in: "pod", run: "ip link del net1" }, "DEL"],
    },
    {
      name: "a lost rule",
      conf: {},
      ...common,
      steps: ["ADD", { in: "pod", run: "ip rule del from 10.9.1.2" }, "CHECK", "DEL"],
    },
    { name: "a pod that is gone", conf: {}, ...common, steps: ["ADD", { verb: "DEL", pod: "none" }] },
  ],
};
