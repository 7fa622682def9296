import { HANDED_BACK, type Table } from "../table.ts";

const RANGES = [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]];
const DUAL = { type: "host-local", ranges: RANGES, routes: [{ dst: "0.0.0.0/0" }] };
const conf = (more: object = {}) => ({ device: "dev0", ipam: DUAL, ...more });
const PAIR = "ip link add dev0 mtu 1400 address 0a:00:00:00:00:01 type veth peer name far0 address 0a:00:00:00:00:02";
const DEVICE = { in: "node", run: `${PAIR}; ip link set dev0 up; ip link set far0 up` } as const;

/** Reserves the only available address of 10.22.0.0/30. */
const FOLDER = "/var/lib/cni/networks/net";
const TAKEN = { in: "node", run: `mkdir -p ${FOLDER}; printf 'c9\\r\\neth0' >${FOLDER}/10.22.0.2` } as const;
const device = { setup: [DEVICE] };

export const table: Table = {
  plugin: "host-device",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: conf(), ...device, steps: HANDED_BACK },
    { name: "by name", conf: conf(), ...device, versions: ["0.2.0", "0.4.0", "1.1.0"] },
    { name: "by hardware address", conf: conf({ device: undefined, hwaddr: "0A:00:00:00:00:01" }), ...device },
    { name: "layer 2 only", conf: conf({ ipam: undefined }), ...device },
    { name: "with the device's own name", conf: conf(), ifName: "dev0", ...device },
    {
      name: "a name that the host also has",
      conf: conf(),
      setup: [DEVICE, { in: "node", run: "ip link add eth0 type veth peer name eth1" }],
    },
    {
      name: "a link in the pod with the device's name on the host",
      conf: conf(),
      setup: [DEVICE, { in: "pod", run: "ip link add dev0 type veth peer name dev1" }],
    },
    { name: "a name that exists in the pod", conf: conf(), ifName: "lo", ...device, steps: ["ADD", "DEL"] },
    { name: "an unknown device", conf: conf({ device: "dev9" }), ...device, steps: ["ADD", "DEL"] },
    { name: "no device", conf: { ipam: DUAL }, ...device, steps: ["ADD"] },
    {
      name: "an unknown hardware address",
      conf: conf({ device: undefined, hwaddr: "0a:00:00:00:00:09" }),
      ...device,
      steps: ["ADD", "DEL"],
    },
    {
      name: "a path outside /sys/devices",
      conf: conf({ device: undefined, kernelpath: "/sys/class/net/dev0" }),
      ...device,
      steps: ["ADD"],
    },
    {
      name: "an unknown PCI device",
      conf: conf({ device: undefined, pciBusID: "0000:ff:1f.9" }),
      ...device,
      steps: ["ADD"],
    },
    {
      name: "an unknown deviceID",
      conf: conf({ runtimeConfig: { deviceID: "0000:ff:1f.9" } }),
      ...device,
      steps: ["ADD"],
    },
    { name: "ADD twice", conf: conf(), ...device, steps: ["ADD", "ADD", "DEL"] },
    {
      name: "no address left",
      conf: conf({ ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/30" }]] } }),
      ...device,
      steps: [TAKEN, "ADD", "DEL"],
    },
    { name: "a pod that is gone", conf: conf(), ...device, steps: ["ADD", { verb: "DEL", pod: "gone" }] },
    { name: "no namespace", conf: conf(), ...device, steps: ["ADD", { verb: "DEL", pod: "none" }] },
    {
      name: "a host's name taken meanwhile",
      conf: conf(),
      ...device,
      steps: [
        "ADD",
        { in: "node", run: "ip link add dev0 type veth peer name dev1" },
        "DEL",
        { in: "node", run: "ip link del dev0" },
        "DEL",
      ],
    },
    {
      name: "damage that CHECK detects",
      conf: conf(),
      ...device,
      steps: [
        "ADD",
        { in: "pod", run: "ip link set eth0 address 0a:00:00:00:00:03" },
        "CHECK",
        { in: "pod", run: "ip link set eth0 address 0a:00:00:00:00:01; ip link set eth0 down" },
        "CHECK",
        "DEL",
      ],
    },
    { name: "STATUS", conf: conf(), ...device, steps: ["STATUS"] },
  ],
};
