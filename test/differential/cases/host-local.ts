import { type Case, HANDED_BACK, type Script, type Step, type Table, VERSIONS } from "../table.ts";

const RANGE = { subnet: "10.22.0.0/24" };
const SIX = { subnet: "fd00:22::/64" };
const ipam = (keys: object, more: object = {}) => ({ ipam: { type: "host-local", ...keys }, ...more });
const ranges = (...sets: object[][]) => ipam({ ranges: sets });
const options = (...ips: string[]) => ({ args: { cni: { ips } } });
const node = (run: string): Script => ({ in: "node", run });

const second = { containerId: "c2" };
/** Two are added, one is deleted, a third is added and checked; then all are deleted. */
const LIFE: readonly Step[] = [
  ...["ADD" as const, { verb: "ADD", ...second } as const, "DEL" as const],
  ...(["ADD", "CHECK", "DEL"] as const).map((verb) => ({ verb, containerId: "c3" })),
  { verb: "DEL", ...second },
];
const SHORT: readonly Step[] = ["ADD", "DEL"];

const DIRECTORY = "/var/lib/cni/networks/net";
const reserved = (name: string, content: string) =>
  node(`mkdir -p ${DIRECTORY} && printf '${content}' >${DIRECTORY}/${name} && chmod 600 ${DIRECTORY}/${name}`);

const alike: readonly Case[] = [
  { name: "one range", conf: { ...ranges([RANGE]) }, versions: VERSIONS, steps: LIFE },
  { name: "a range of the old form", conf: ipam({ ...RANGE, rangeStart: "10.22.0.9", gateway: "10.22.0.254" }) },
  {
    name: "a range of the old form before those of the new one",
    conf: ipam({ ...RANGE, ranges: [[SIX]] }),
    versions: ["0.2.0", "1.1.0"],
  },
  {
    name: "a gateway and routes",
    conf: ipam({
      ranges: [[{ ...RANGE, gateway: "10.22.0.254" }]],
      routes: [
        { dst: "0.0.0.0/0" },
        { dst: "192.0.2.0/24", gw: "10.22.0.9", mtu: 1400, priority: 7, table: 99, scope: 0 },
      ],
    }),
    versions: ["0.2.0", "0.4.0", "1.0.0", "1.1.0"],
    steps: SHORT,
  },
  {
    name: "a range of two addresses, requested three times",
    conf: ranges([{ ...RANGE, rangeStart: "10.22.0.40", rangeEnd: "10.22.0.41" }]),
    steps: ["ADD", { verb: "ADD", ...second }, { verb: "DEL" }, { verb: "ADD", containerId: "c3" }],
  },
  {
    name: "two ranges of one set, used one after the other",
    conf: ranges([{ ...RANGE, rangeStart: "10.22.0.9", rangeEnd: "10.22.0.9" }, { subnet: "10.23.0.0/24" }]),
    steps: LIFE,
  },
  { name: "both families", conf: ranges([RANGE], [SIX]), versions: ["0.2.0", "1.1.0"], steps: LIFE },
  { name: "three sets", conf: ranges([RANGE], [SIX], [{ subnet: "10.23.0.0/24" }]), steps: SHORT },
  { name: "another folder", conf: ipam({ ranges: [[RANGE]], dataDir: "/var/lib/cni/elsewhere" }), steps: SHORT },
  {
    name: "ranges of the runtime before the others",
    conf: ipam({ ranges: [[SIX]] }, { runtimeConfig: { ipRanges: [[RANGE]] } }),
  },
  {
    name: "addresses requested by the runtime, args and CNI_ARGS, one from each set",
    conf: ipam(
      { ranges: [[RANGE], [SIX], [{ subnet: "10.23.0.0/24" }]] },
      { ...options("fd00:22::77"), runtimeConfig: { ips: ["10.23.0.77/24"] } },
    ),
    args: "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.22.0.77",
  },
  {
    name: "an address requested twice, and again after its release",
    conf: ipam({ ranges: [[RANGE]] }, options("10.22.0.77")),
    steps: ["ADD", { verb: "ADD", ...second }, "DEL", { verb: "ADD", ...second }],
  },
  {
    name: "a resolv.conf",
    conf: ipam({ ranges: [[RANGE]], resolvConf: "/var/lib/cni/resolv" }),
    setup: [
      node(
        "printf '# no\\n; no\\nnameserver 10.96.0.10\\nnameserver fd00::a\\nsearch a.test b.test\\noptions ndots:5 edns0\\ndomain c.test\\nsortlist 1.2.3.4\\n' >/var/lib/cni/resolv",
      ),
    ],
    steps: SHORT,
  },
  {
    name: "keys in other letter cases, and an unknown key",
    conf: { IPAM: { Ranges: [[{ SUBNET: "10.22.0.0/24" }]], foo: 1 } },
  },
  {
    name: "a reservation without an interface",
    conf: ranges([RANGE]),
    setup: [reserved("10.22.0.2", "c1")],
    steps: [
      { verb: "CHECK", conf: { prevResult: { cniVersion: "1.1.0", ips: [{ address: "10.22.0.2/24" }] } } },
      { verb: "ADD", ...second },
      "DEL",
      { verb: "DEL", ...second },
    ],
  },
  {
    name: "unrelated files",
    conf: ranges([RANGE]),
    setup: [
      reserved("notes", "c1"),
      reserved("10.22.0.2", "other\\r\\neth0"),
      reserved("10.22.0.2.bak", "c9\\r\\neth0"),
    ],
  },
  {
    name: "an unknown container",
    conf: ranges([RANGE]),
    steps: ["CHECK", "DEL", { verb: "DEL", pod: "none" }],
  },
  {
    name: "two interfaces of one container",
    conf: ranges([RANGE]),
    steps: ["ADD", { verb: "ADD", ifName: "eth1" }, "DEL"],
  },
  { name: "an unused network", conf: ranges([RANGE]), steps: ["STATUS"] },
];

const refused = (name: string, conf: Readonly<Record<string, unknown>>, args = ""): Case => ({
  ...{ name: `rejected: ${name}`, conf, args },
  steps: ["ADD"],
});

const refusals: readonly Case[] = [
  refused("no ipam", {}),
  refused("no ranges", ipam({})),
  refused("an empty set", ranges([])),
  refused("a set of both families", ranges([RANGE, SIX])),
  refused("host bits", ranges([{ subnet: "10.22.0.1/24" }])),
  refused("a subnet of two addresses", ranges([{ subnet: "10.22.0.0/31" }])),
  refused("sets that overlap", ranges([RANGE], [{ subnet: "10.22.0.0/25" }])),
  refused("an end before the start", ranges([{ ...RANGE, rangeStart: "10.22.0.9", rangeEnd: "10.22.0.8" }])),
  refused("bounds elsewhere", ranges([{ ...RANGE, rangeStart: "10.23.0.9" }])),
  refused("a gateway that is not an address", ranges([{ ...RANGE, gateway: "x" }])),
  refused("a requested address outside the ranges", ipam({ ranges: [[RANGE]] }, options("10.99.0.1"))),
  refused("the gateway's address requested", ipam({ ranges: [[RANGE]] }, options("10.22.0.1"))),
  refused("two addresses of one set requested", ipam({ ranges: [[RANGE]] }, options("10.22.0.8", "10.22.0.9"))),
  refused("an unknown key in CNI_ARGS", ranges([RANGE]), "FOO=1"),
  refused("an invalid address in CNI_ARGS", ranges([RANGE]), "IP=x"),
  refused("a missing resolv.conf", ipam({ ranges: [[RANGE]], resolvConf: "/var/lib/cni/none" })),
  refused("a full range", ranges([{ ...RANGE, rangeStart: "10.22.0.1", rangeEnd: "10.22.0.1" }])),
  { ...refused("two sets of a family", ranges([RANGE], [{ subnet: "10.23.0.0/24" }])), versions: ["0.2.0"] },
];

const better: readonly Case[] = [
  { name: "a gateway outside the subnet", conf: ranges([{ ...RANGE, gateway: "10.99.0.1" }]) },
  {
    name: "DEL with a configuration that ADD would reject",
    conf: ranges([RANGE]),
    steps: ["ADD", { verb: "DEL", conf: ranges([{ subnet: "10.22.0.5/24" }]) }],
  },
  {
    name: "CHECK of another address than the reserved one",
    conf: ranges([RANGE]),
    steps: ["ADD", node(`mv ${DIRECTORY}/10.22.0.2 ${DIRECTORY}/10.22.0.3`), "CHECK"],
  },
  {
    name: "addresses that were reserved by hand",
    conf: ranges([{ ...RANGE, rangeStart: "10.22.0.8", rangeEnd: "10.22.0.10" }]),
    setup: [reserved("10.22.0.8", ""), reserved("10.22.0.9", "printer")],
    steps: ["ADD", { verb: "ADD", ...second }, "CHECK", "DEL"],
  },
  {
    name: "an address requested by an attachment that has one",
    conf: ranges([RANGE]),
    steps: ["ADD", { verb: "ADD", conf: ipam({ ranges: [[RANGE]] }, options("10.22.0.77")) }],
  },
  {
    name: "STATUS with a folder that cannot be written",
    conf: ipam({ ranges: [[RANGE]], dataDir: "/proc/nowhere" }),
    steps: ["STATUS"],
  },
  {
    name: "GC",
    conf: ranges([RANGE]),
    steps: [
      ...["ADD" as const, { verb: "ADD", ...second } as const],
      { verb: "GC", conf: { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] } },
    ],
  },
  {
    name: "the network's own address and the broadcast address, within the bounds",
    conf: ranges([{ subnet: "10.22.0.0/30", rangeStart: "10.22.0.0", rangeEnd: "10.22.0.3" }]),
    steps: ["ADD", { verb: "ADD", ...second }, { verb: "ADD", containerId: "c3" }],
  },
  { name: "added by weft, checked and deleted by the reference", conf: ranges([RANGE], [SIX]), steps: HANDED_BACK },
  { name: "two addresses in CNI_ARGS", conf: ranges([RANGE], [SIX]), args: "IP=10.22.0.8,fd00:22::8", steps: ["ADD"] },
];

export const table: Table = { plugin: "host-local", cases: [...alike, ...refusals, ...better] };
