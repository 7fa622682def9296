import { type Script, type Table, VERSIONS } from "../table.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };

const conf = (more: object = {}) => ({ bridge: "cni0", ipam: IPAM, ...more });

const SEVERAL = { type: "host-local", ranges: [[{ subnet: "fd00:22::/64" }], [{ subnet: "fd00:23::/64" }]] };
const OTHER = { type: "host-local", ranges: [[{ subnet: "10.23.0.0/24" }]] };

/** Whom the world outside takes the pod for. */
const ANSWERS: Script = {
  in: "pod",
  run: "ping -n -q -c 1 -W 2 198.51.100.2 | grep received; ping -n -q -c 1 -W 2 2001:db8:1::2 | grep received",
};

const BRIDGE_WITH_ADDRESS: Script = {
  in: "node",
  run: "ip link add cni0 address 02:00:00:00:00:77 type bridge; ip address add 10.22.0.1/24 dev cni0",
};

export const table: Table = {
  plugin: "bridge",
  cases: [
    { name: "plain", conf: conf() },
    { name: "gateway", conf: conf({ isGateway: true }) },
    { name: "default gateway", conf: conf({ isDefaultGateway: true }), versions: VERSIONS },
    { name: "hairpin and MTU", conf: conf({ isDefaultGateway: true, hairpinMode: true, mtu: 1400 }) },
    { name: "promiscuous", conf: conf({ isGateway: true, promiscMode: true }) },
    {
      name: "a MAC by capability",
      conf: conf({ isGateway: true, runtimeConfig: { mac: "c2:11:22:33:44:55" } }),
    },
    {
      name: "routes",
      conf: conf({
        isGateway: true,
        ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16" }, { dst: "10.98.0.0/16", gw: "10.22.0.9" }] },
      }),
    },
    { name: "both families", conf: conf({ isDefaultGateway: true, ipam: DUAL }) },
    { name: "layer 2 only", conf: conf({ ipam: {} }) },
    { name: "several IPv6 ranges", conf: conf({ isDefaultGateway: true, ipam: SEVERAL }) },
    { name: "an isolated port", conf: conf({ isGateway: true, portIsolation: true, hairpinMode: true }) },
    { name: "a guarded address", conf: conf({ isGateway: true, macspoofchk: true }) },
    { name: "duplicate address detection", conf: conf({ isGateway: true, enabledad: true, ipam: DUAL }) },
    { name: "an interface that stays down", conf: conf({ ipam: {}, disableContainerInterface: true }) },
    { name: "addresses for one that stays down", conf: conf({ disableContainerInterface: true }), steps: ["ADD"] },
    {
      name: "masquerading by nftables",
      conf: conf({ isDefaultGateway: true, ipMasq: true, ipMasqBackend: "nftables", ipam: DUAL }),
      steps: ["ADD", "CHECK", ANSWERS, "DEL", "DEL"],
      uplink: true,
    },
    { name: "masquerading by iptables", conf: conf({ ipMasq: true, ipMasqBackend: "iptables" }), steps: ["ADD"] },
    {
      name: "another gateway",
      conf: conf({ isGateway: true, ipam: OTHER }),
      setup: [BRIDGE_WITH_ADDRESS],
      steps: ["ADD"],
    },
    {
      name: "another gateway by force",
      conf: conf({ isGateway: true, forceAddress: true, ipam: OTHER }),
      setup: [BRIDGE_WITH_ADDRESS],
    },
    {
      name: "DNS of its own",
      conf: conf({
        isGateway: true,
        dns: { nameservers: ["10.22.0.1"], domain: "pods.test", search: ["a.test"], options: ["ndots:5"] },
      }),
    },
  ],
};
