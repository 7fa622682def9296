import { type Case, HANDED_BACK, type Script, type Table, VERSIONS } from "../table.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };

const conf = (more: object = {}) => ({ bridge: "cni0", ipam: IPAM, ...more });

const SEVERAL = { type: "host-local", ranges: [[{ subnet: "fd00:22::/64" }], [{ subnet: "fd00:23::/64" }]] };
const OTHER = { type: "host-local", ranges: [[{ subnet: "10.23.0.0/24" }]] };

/** The replies show whether the outside network can answer the pod. */
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
    {
      name: "added by weft, checked and deleted by the reference",
      conf: conf({ isDefaultGateway: true, hairpinMode: true, mtu: 1400 }),
      steps: HANDED_BACK,
    },
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
    {
      name: "addresses for an interface that stays down",
      conf: conf({ disableContainerInterface: true }),
      steps: ["ADD"],
    },
    {
      name: "masquerading by nftables",
      conf: conf({ isDefaultGateway: true, ipMasq: true, ipMasqBackend: "nftables", ipam: DUAL }),
      steps: ["ADD", "CHECK", ANSWERS, "DEL", "DEL"],
      uplink: true,
    },
    {
      name: "masquerading by iptables",
      conf: conf({ isDefaultGateway: true, ipMasq: true, ipMasqBackend: "iptables", ipam: DUAL }),
      ...{ uplink: true, listening: [{ in: "outside", port: 7000 }] },
      steps: [
        "ADD",
        { from: "pod", to: "198.51.100.2", port: 7000 },
        { from: "pod", to: "2001:db8:1::2", port: 7000 },
        "CHECK",
        "DEL",
        "DEL",
      ],
    },
    {
      name: "another gateway",
      conf: conf({ isGateway: true, ipam: OTHER }),
      setup: [BRIDGE_WITH_ADDRESS],
      steps: ["ADD"],
    },
    {
      name: "another gateway with forceAddress",
      conf: conf({ isGateway: true, forceAddress: true, ipam: OTHER }),
      setup: [BRIDGE_WITH_ADDRESS],
    },
    {
      name: "DNS in the configuration",
      conf: conf({
        isGateway: true,
        dns: { nameservers: ["10.22.0.1"], domain: "pods.test", search: ["a.test"], options: ["ndots:5"] },
      }),
    },
    {
      name: "with default names",
      conf: { ipam: IPAM },
      args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod;MAC=c2:11:22:33:44:66",
    },
    {
      name: "an existing bridge without an address",
      conf: conf({ isGateway: true }),
      setup: [{ in: "node", run: "ip link add cni0 type bridge; ip link set cni0 up" }],
      steps: [
        "ADD",
        "CHECK",
        {
          in: "node",
          run: "ip link add low0 address 02:00:00:00:00:01 type veth peer name low1; ip link set low0 master cni0 up",
        },
        "CHECK",
        "DEL",
      ],
    },
    ...["10.22.0.0/31", "10.22.0.1/31"].map(
      (address): Case => ({
        name: `the gateway for ${address}`,
        conf: conf({ isDefaultGateway: true, ipam: { type: "static", addresses: [{ address }] } }),
      }),
    ),
    {
      name: "a bridge that has lost its ports",
      conf: conf({ isGateway: true }),
      setup: [
        {
          in: "node",
          run: "ip link add cni0 type bridge; ip link set cni0 up; ip link add low0 type veth peer name low1; ip link set low0 master cni0; ip link del low0",
        },
      ],
      steps: ["ADD", "CHECK"],
    },
    {
      name: "a bridge with the gateway's address, and a port with a lower MAC",
      conf: conf({ isGateway: true }),
      setup: [
        {
          in: "node",
          run: "ip link add cni0 type bridge; ip address add 10.22.0.1/24 dev cni0; ip link set cni0 up",
        },
      ],
      steps: [
        "ADD",
        "CHECK",
        {
          in: "node",
          run: "ip link add low0 address 02:00:00:00:00:01 type veth peer name low1; ip link set low0 master cni0 up",
        },
        "CHECK",
        "DEL",
      ],
    },
    {
      name: "a VLAN, added by the reference to an existing bridge",
      conf: conf({ isGateway: true, vlan: 100 }),
      setup: [{ in: "node", run: "ip link add cni0 type bridge; ip link set cni0 up" }],
      steps: [{ verb: "ADD", by: "reference" }, "CHECK", "DEL"],
      inVm: true,
    },
    ...["10.22.0.7/32", "fd00:22::7/128"].map(
      (address): Case => ({
        name: `the single address ${address} without a gateway`,
        conf: conf({ isGateway: true, ipam: { type: "static", addresses: [{ address }] } }),
      }),
    ),
    {
      name: "CHECK after the pod has lowered the MTU",
      conf: conf({ isGateway: true, mtu: 1450 }),
      steps: ["ADD", { in: "pod", run: "ip link set eth0 mtu 1400" }, "CHECK", "DEL"],
    },
    {
      name: "CHECK after a change of the default route's gateway",
      conf: conf({ isGateway: true, ipam: { ...IPAM, routes: [{ dst: "0.0.0.0/0" }] } }),
      steps: ["ADD", { in: "pod", run: "ip route replace default via 10.22.0.50" }, "CHECK", "DEL"],
    },
    ...Object.entries({
      "with all nftables rules": { ipMasq: true, ipMasqBackend: "nftables", macspoofchk: true },
      "with iptables": { ipMasq: true },
      "with routes' mtu and advmss": { ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", mtu: 1300, advmss: 1200 }] } },
    }).map(
      ([name, more]): Case => ({
        name: `added and deleted by the reference, checked by weft, ${name}`,
        conf: conf({ isDefaultGateway: true, ...more }),
        steps: [{ verb: "ADD", by: "reference" }, "CHECK", { verb: "DEL", by: "reference" }],
      }),
    ),
    {
      name: "added by weft with both families, deleted by the reference",
      conf: conf({ isDefaultGateway: true, ipam: DUAL }),
      steps: ["ADD", { verb: "CHECK", by: "reference" }, { verb: "DEL", by: "reference" }],
    },
    { name: "a MAC by args", conf: conf({ args: { cni: { mac: "c2:11:22:33:44:77" } } }) },
    {
      name: "two pods, one deleted",
      conf: conf({ isDefaultGateway: true }),
      steps: [
        "ADD",
        { verb: "ADD", pod: "other" },
        "DEL",
        { verb: "CHECK", pod: "other" },
        { verb: "DEL", pod: "other" },
      ],
    },
    {
      name: "two interfaces of one pod",
      conf: conf({ isGateway: true }),
      steps: [
        "ADD",
        { verb: "ADD", ifName: "eth1" },
        "DEL",
        { verb: "CHECK", ifName: "eth1" },
        { verb: "DEL", ifName: "eth1" },
      ],
    },
    {
      name: "an existing bridge",
      conf: conf({ isGateway: true, mtu: 1300 }),
      setup: [
        {
          in: "node",
          run: "ip link add cni0 address c2:00:00:00:00:01 type bridge; ip address add 10.22.0.1/24 dev cni0; ip link set cni0 up",
        },
      ],
    },
    {
      name: "a device that is not a bridge",
      conf: conf({ bridge: "cni9" }),
      setup: [{ in: "node", run: "ip link add cni9 type veth peer name cni8" }],
    },
    { name: "hairpin and promiscuous", conf: conf({ hairpinMode: true, promiscMode: true }), steps: ["ADD"] },
    { name: "an existing interface", conf: conf(), steps: ["ADD", "ADD", "DEL"] },
    { name: "a missing IPAM plugin", conf: conf({ ipam: { type: "nobody" } }), steps: ["ADD", "STATUS"] },
    {
      name: "an exhausted range",
      conf: conf({ ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/30" }]] } }),
      steps: ["ADD", { verb: "ADD", pod: "other" }, "DEL"],
    },
    {
      name: "an impossible route",
      conf: conf({ ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] } }),
      steps: ["ADD"],
    },
    {
      name: "routes with all attributes",
      conf: conf({
        isGateway: true,
        ipam: {
          ...IPAM,
          routes: [
            { dst: "10.99.0.0/16", mtu: 1300, advmss: 1200 },
            { dst: "10.98.0.0/16", priority: 5 },
            { dst: "10.97.0.0/16", table: 100 },
            { dst: "10.96.0.0/16", scope: 253, gw: "0.0.0.0" },
          ],
        },
      }),
    },
    {
      name: "a default route from IPAM",
      conf: conf({ isGateway: true, ipam: { ...IPAM, routes: [{ dst: "0.0.0.0/0" }] } }),
    },
    {
      name: "a default route from IPAM, and isDefaultGateway",
      conf: conf({ isDefaultGateway: true, ipam: { ...IPAM, routes: [{ dst: "0.0.0.0/0" }] } }),
    },
    {
      name: "several ranges of one family",
      conf: conf({
        isGateway: true,
        ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "10.23.0.0/24" }]] },
      }),
    },
    {
      name: "masquerade",
      conf: conf({ isDefaultGateway: true, ipMasq: true, ipam: DUAL }),
      uplink: true,
      listening: [{ in: "outside", port: 7000 }],
      steps: [
        "ADD",
        { from: "pod", to: "198.51.100.2", port: 7000 },
        { from: "pod", to: "2001:db8:1::2", port: 7000 },
        "CHECK",
        "DEL",
        "DEL",
      ],
    },
    {
      name: "DEL without a namespace",
      conf: conf({ isDefaultGateway: true }),
      steps: ["ADD", { verb: "DEL", pod: "none" }],
    },
    {
      name: "DEL of a namespace that is gone",
      conf: conf({ isDefaultGateway: true }),
      steps: ["ADD", { verb: "DEL", pod: "gone" }],
    },
    { name: "DEL without a result", conf: conf(), steps: ["ADD", { verb: "DEL", remembers: false }] },
    { name: "DEL without an ADD", conf: conf(), steps: ["DEL"] },
    {
      name: "CHECK after the pod's interface was removed",
      conf: conf(),
      steps: ["ADD", { in: "pod", run: "ip link del eth0" }, "CHECK", "DEL"],
    },
    {
      name: "CHECK after the pod's address was removed",
      conf: conf(),
      steps: ["ADD", { in: "pod", run: "ip address flush dev eth0 scope global" }, "CHECK"],
    },
    {
      name: "CHECK after the default route was removed",
      conf: conf({ isDefaultGateway: true }),
      steps: ["ADD", { in: "pod", run: "ip route del default" }, "CHECK"],
    },
    ...Object.entries({
      "the host's end went down": "ip link set $(ip -o link | grep -o 'veth[0-9a-f]*' | head -n 1) down",
      "hairpin mode was disabled":
        "bridge link set dev $(ip -o link | grep -o 'veth[0-9a-f]*' | head -n 1) hairpin off",
      "the gateway's address was removed": "ip address flush dev cni0",
    }).map(
      ([name, run]): Case => ({
        name: `CHECK after ${name}`,
        conf: conf({ isGateway: true, hairpinMode: true }),
        steps: ["ADD", { in: "node", run }, "CHECK"],
      }),
    ),
    { name: "a VLAN", conf: conf({ isGateway: true, vlan: 100 }), inVm: true },
    { name: "a VLAN, with the default one", conf: conf({ vlan: 100, preserveDefaultVlan: true }), inVm: true },
    {
      name: "a trunk",
      conf: conf({ vlanTrunk: [{ minID: 100, maxID: 104 }, { id: 200 }] }),
      inVm: true,
    },
    { name: "a VLAN and a trunk", conf: conf({ vlan: 100, vlanTrunk: [{ id: 200 }] }), inVm: true },
    { name: "an invalid VLAN", conf: conf({ vlan: 4095 }), steps: ["ADD"] },
    { name: "an invalid trunk", conf: conf({ vlanTrunk: [{ minID: 104, maxID: 100 }] }), steps: ["ADD"] },
    { name: "STATUS", conf: conf(), steps: ["STATUS"] },
    { name: "VERSION", conf: conf(), steps: ["VERSION"] },
    { name: "GC", conf: conf(), steps: ["ADD", { verb: "GC", conf: { "cni.dev/valid-attachments": [] } }] },
  ],
};
