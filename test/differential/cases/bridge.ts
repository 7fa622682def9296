import { type Table, VERSIONS } from "../table.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };

const conf = (more: object = {}) => ({ bridge: "cni0", ipam: IPAM, ...more });

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
    {
      name: "DNS of its own",
      conf: conf({
        isGateway: true,
        dns: { nameservers: ["10.22.0.1"], domain: "pods.test", search: ["a.test"], options: ["ndots:5"] },
      }),
    },
  ],
};
