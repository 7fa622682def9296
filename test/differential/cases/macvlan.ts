import { HANDED_BACK, type Table } from "../table.ts";

const RANGES = [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]];
const DUAL = { type: "host-local", ranges: RANGES, routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }] };
const conf = (more: object = {}) => ({ master: "up0", ipam: DUAL, ...more });
/** A link in the pod, for interfaces on top of it. */
const IN_POD = {
  in: "node",
  run: "ip -n $POD link add in0 type veth peer name in1; ip -n $POD link set in0 up",
} as const;

/** Reserves the only available address of 10.22.0.0/30. */
const FOLDER = "/var/lib/cni/networks/net";
const TAKEN = { in: "node", run: `mkdir -p ${FOLDER}; printf 'c9\\r\\neth0' >${FOLDER}/10.22.0.2` } as const;

export const table: Table = {
  plugin: "macvlan",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: conf(), uplink: true, steps: HANDED_BACK },
    { name: "both families", conf: conf(), uplink: true, versions: ["0.2.0", "0.4.0", "1.1.0"] },
    { name: "the default route's link", conf: conf({ master: undefined }), uplink: true },
    { name: "private", conf: conf({ mode: "private" }), uplink: true },
    { name: "vepa", conf: conf({ mode: "vepa" }), uplink: true },
    { name: "passthru", conf: conf({ mode: "passthru" }), uplink: true },
    { name: "a smaller MTU", conf: conf({ mtu: 1400 }), uplink: true },
    { name: "a larger MTU", conf: conf({ mtu: 1501 }), uplink: true, steps: ["ADD", "DEL"] },
    { name: "an unknown mode", conf: conf({ mode: "bridged" }), uplink: true, steps: ["ADD"] },
    { name: "an unknown master", conf: conf({ master: "up9" }), uplink: true, steps: ["ADD", "DEL"] },
    { name: "no master and no default route", conf: conf({ master: undefined }), steps: ["ADD", "DEL"] },
    { name: "a broadcast queue", conf: conf({ bcqueuelen: 2000 }), uplink: true },
    { name: "a MAC in the configuration", conf: conf({ mac: "c2:11:22:33:44:55" }), uplink: true },
    { name: "a MAC in CNI_ARGS", conf: conf(), args: "IgnoreUnknown=1;MAC=c2:11:22:33:44:66", uplink: true },
    {
      name: "a MAC by capability overrides all others",
      conf: conf({ mac: "c2:11:22:33:44:55", runtimeConfig: { mac: "c2:11:22:33:44:77" } }),
      ...{ args: "IgnoreUnknown=1;MAC=c2:11:22:33:44:66", uplink: true },
    },
    {
      name: "a MAC in CNI_ARGS overrides args.cni",
      conf: conf({ mac: "c2:11:22:33:44:55", args: { cni: { mac: "c2:11:22:33:44:88" } } }),
      ...{ args: "IgnoreUnknown=1;MAC=c2:11:22:33:44:66", uplink: true },
    },
    {
      name: "CHECK after the pod has lowered the MTU",
      conf: conf({ mtu: 1450 }),
      ...{ uplink: true, steps: ["ADD", { in: "pod", run: "ip link set eth0 mtu 1400" }, "CHECK", "DEL"] },
    },
    { name: "layer 2 only", conf: conf({ ipam: undefined }), uplink: true },
    { name: "a link of the pod", conf: conf({ master: "in0", linkInContainer: true }), setup: [IN_POD] },
    {
      name: "the name of the host's link",
      conf: conf(),
      ...{ ifName: "up0", uplink: true },
    },
    {
      name: "no address left",
      conf: conf({ ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/30" }]] } }),
      uplink: true,
      steps: [TAKEN, "ADD", "DEL"],
    },
    { name: "a name that exists in the pod", conf: conf(), uplink: true, steps: ["ADD", "ADD", "DEL"] },
    {
      name: "DNS in the configuration",
      conf: conf({ dns: { nameservers: ["10.22.0.1"], domain: "pods.test" } }),
      uplink: true,
    },
    { name: "a pod that is gone", conf: conf(), uplink: true, steps: ["ADD", { verb: "DEL", pod: "gone" }] },
    { name: "no namespace", conf: conf(), uplink: true, steps: ["ADD", { verb: "DEL", pod: "none" }] },
    {
      name: "damage that CHECK detects",
      conf: conf({ mode: "bridge", mtu: 1400 }),
      uplink: true,
      steps: [
        "ADD",
        "CHECK",
        { in: "pod", run: "ip link set eth0 type macvlan mode private" },
        "CHECK",
        { in: "pod", run: "ip link set eth0 type macvlan mode bridge; ip address del 10.22.0.2/24 dev eth0" },
        "CHECK",
        { in: "pod", run: "ip address add 10.22.0.2/24 dev eth0; ip route add default via 10.22.0.1" },
        "CHECK",
        { in: "pod", run: "ip link set eth0 address c2:11:22:33:44:55" },
        "CHECK",
        "DEL",
      ],
    },
    { name: "STATUS", conf: conf(), uplink: true, steps: ["STATUS"] },
  ],
};
