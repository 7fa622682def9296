import { HANDED_BACK, type Table } from "../table.ts";

const RANGES = [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]];
const DUAL = { type: "host-local", ranges: RANGES, routes: [{ dst: "0.0.0.0/0" }] };
const conf = (more: object = {}) => ({ ipam: DUAL, ...more });

export const table: Table = {
  plugin: "tap",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: conf(), steps: HANDED_BACK },
    { name: "both families", conf: conf(), versions: ["0.2.0", "0.4.0", "1.1.0"] },
    {
      name: "a MAC in CNI_ARGS overrides args.cni",
      conf: conf({ mac: "c2:11:22:33:44:55", args: { cni: { mac: "c2:11:22:33:44:88" } } }),
      ...{ args: "IgnoreUnknown=1;MAC=c2:11:22:33:44:66" },
    },
    {
      name: "CHECK after the pod has lowered the MTU",
      conf: conf({ mtu: 1450 }),
      ...{ steps: ["ADD", { in: "pod", run: "ip link set eth0 mtu 1400" }, "CHECK", "DEL"] },
    },
    { name: "layer 2 only", conf: {} },
    { name: "several queues", conf: conf({ multiQueue: true }) },
    { name: "an MTU", conf: conf({ mtu: 1400 }) },
    { name: "a MAC in the configuration", conf: conf({ mac: "c2:11:22:33:44:55" }) },
    { name: "a MAC by capability", conf: conf({ runtimeConfig: { mac: "c2:11:22:33:44:55" } }) },
    { name: "an owner", conf: conf({ owner: 1000 }) },
    { name: "a group", conf: conf({ group: 1000 }) },
    { name: "an owner and a group", conf: conf({ owner: 0, group: 1000, multiQueue: true }) },
    {
      name: "an owner, a group, and a MAC",
      conf: conf({ owner: 1000, group: 1000, mac: "c2:11:22:33:44:55" }),
    },
    {
      name: "a port of the pod's bridge",
      conf: conf({ ipam: {}, bridge: "br0" }),
      setup: [{ in: "pod", run: "ip link add br0 address 0a:00:00:00:00:01 type bridge; ip link set br0 up" }],
    },
    { name: "an unknown bridge", conf: conf({ bridge: "br0" }), steps: ["ADD", "DEL"] },
    { name: "an invalid MTU", conf: conf({ mtu: 70_000 }), steps: ["ADD", "DEL"] },
    { name: "DNS in the configuration", conf: conf({ dns: { nameservers: ["10.22.0.1"] } }) },
    { name: "a pod that is gone", conf: conf(), steps: ["ADD", { verb: "DEL", pod: "gone" }] },
    {
      name: "damage that CHECK detects",
      conf: conf({ multiQueue: true }),
      steps: [
        "ADD",
        { in: "pod", run: "ip address del fd00:22::2/64 dev eth0" },
        "CHECK",
        { in: "pod", run: "ip link del eth0; ip tuntap add dev eth0 mode tap; ip link set eth0 up" },
        "CHECK",
        "DEL",
      ],
    },
    { name: "STATUS", conf: conf(), steps: ["STATUS"] },
  ],
};
