import { HANDED_BACK, type Script, type Table, VERSIONS } from "../table.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
const DUAL = {
  type: "host-local",
  ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
};

const conf = (more: object = {}) => ({ ipam: IPAM, ...more });

/** The outside has no route to the pods' range, so only masqueraded packets get an answer. */
const ANSWERS: Script = {
  in: "pod",
  run: "ping -n -q -c 1 -W 2 198.51.100.2 | grep received; ping -n -q -c 1 -W 2 2001:db8:1::2 | grep received",
};

export const table: Table = {
  plugin: "ptp",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: conf({ ipam: DUAL }), steps: HANDED_BACK },
    { name: "plain", conf: conf(), versions: VERSIONS },
    { name: "an MTU", conf: conf({ mtu: 1400 }) },
    { name: "both families", conf: conf({ ipam: DUAL }) },
    {
      name: "routes",
      conf: conf({ ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16" }, { dst: "10.98.0.0/16", gw: "10.22.0.1" }] } }),
    },
    { name: "DNS in the configuration", conf: conf({ dns: { nameservers: ["10.22.0.1"], search: ["a.test"] } }) },
    {
      name: "masquerading by nftables",
      conf: conf({ ipMasq: true, ipMasqBackend: "nftables", ipam: DUAL }),
      steps: ["ADD", "CHECK", ANSWERS, "DEL", "DEL"],
      uplink: true,
    },
    { name: "masquerading by iptables", conf: conf({ ipMasq: true, ipMasqBackend: "iptables" }) },
    {
      name: "CHECK after the pod has lowered the MTU",
      conf: conf({ mtu: 1450 }),
      steps: ["ADD", { in: "pod", run: "ip link set eth0 mtu 1400" }, "CHECK", "DEL"],
    },
    {
      name: "added and deleted by the reference, checked by weft",
      conf: conf({ ipMasq: true, ipMasqBackend: "iptables" }),
      steps: [{ verb: "ADD", by: "reference" }, "CHECK", { verb: "DEL", by: "reference" }],
    },
    { name: "a second ADD", conf: conf(), steps: ["ADD", "ADD", "DEL"] },
    { name: "no ipam", conf: { ipam: {} }, steps: ["ADD", "STATUS"] },
    {
      name: "a single address with a gateway outside its subnet",
      conf: conf({ ipam: { type: "static", addresses: [{ address: "10.22.0.7/32", gateway: "169.254.1.1" }] } }),
      steps: ["ADD"],
    },
    {
      name: "an address without a gateway",
      conf: conf({ ipam: { type: "static", addresses: [{ address: "10.22.0.7/24" }] } }),
      steps: ["ADD"],
    },
    {
      name: "the host's route is gone",
      conf: conf(),
      steps: ["ADD", { in: "node", run: "ip route del 10.22.0.2" }, "CHECK", "DEL"],
    },
  ],
};
