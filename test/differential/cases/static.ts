import { type Case, HANDED_BACK, type Table, VERSIONS } from "../table.ts";

const FOUR = { address: "10.1.0.2/24", gateway: "10.1.0.1" };
const SIX = { address: "fd00::2/64" };
const ipam = (keys: object, more: object = {}) => ({ ipam: { type: "static", ...keys }, ...more });
const both = ipam({ addresses: [FOUR, SIX] });
const args = { args: { cni: { ips: ["10.3.0.5/24"] } } };
const runtime = { runtimeConfig: { ips: ["10.4.0.5/24", "fd01::1/64"] } };

const refused = (name: string, conf: Readonly<Record<string, unknown>>, cniArgs = ""): Case => ({
  ...{ name: `rejected: ${name}`, conf, args: cniArgs },
  steps: ["ADD"],
});

export const table: Table = {
  plugin: "static",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: both, steps: HANDED_BACK },
    { name: "both families", conf: both, versions: VERSIONS },
    {
      name: "routes and DNS",
      conf: ipam({
        addresses: [FOUR],
        routes: [{ dst: "0.0.0.0/0" }, { dst: "192.0.2.0/24", gw: "10.1.0.9", mtu: 1400, advmss: 1300, priority: 7 }],
        dns: { nameservers: ["10.1.0.53"], domain: "a.test", search: ["a.test", "b.test"], options: ["ndots:5"] },
      }),
      versions: ["0.2.0", "0.4.0", "1.1.0"],
    },
    { name: "no addresses", conf: ipam({}) },
    {
      name: "two of a family",
      conf: ipam({ addresses: [FOUR, { address: "10.2.0.2/24" }] }),
      versions: ["0.2.0", "0.3.0"],
    },
    { name: "addresses of CNI_ARGS after the others", conf: both, args: "IP=10.2.0.5/24, 10.2.0.6/24" },
    {
      name: "gateways of CNI_ARGS, each in its network",
      conf: both,
      args: "IgnoreUnknown=1;IP=10.2.0.5/24;GATEWAY=10.2.0.1,fd00::1,192.0.2.1",
    },
    { name: "addresses of args replace all others", conf: { ...both, ...args }, args: "IP=10.2.0.5/24" },
    {
      name: "addresses of the runtime replace all others",
      conf: { ...both, ...args, ...runtime },
      args: "IP=10.2.0.5/24",
    },
    { name: "gateways of CNI_ARGS and addresses of args", conf: { ...both, ...args }, args: "GATEWAY=10.3.0.1" },
    { name: "STATUS", conf: both, steps: ["STATUS"] },
    {
      name: "CHECK of other addresses and gateways",
      conf: both,
      steps: [
        "ADD",
        { verb: "CHECK", conf: ipam({ addresses: [{ address: "10.1.0.3/24" }] }) },
        { verb: "CHECK", conf: ipam({ addresses: [{ ...FOUR, gateway: "10.1.0.7" }] }) },
        { verb: "CHECK", conf: ipam({ addresses: [SIX] }) },
        { verb: "CHECK", remembers: false },
      ],
    },
    refused("no ipam", {}),
    refused("an address without a prefix length", ipam({ addresses: [{ address: "10.1.0.2" }] })),
    refused("a missing address", ipam({ addresses: [{ gateway: "10.1.0.1" }] })),
    refused("an invalid gateway", ipam({ addresses: [{ ...FOUR, gateway: "x" }] })),
    refused("an IP in CNI_ARGS without a prefix length", ipam({}), "IP=10.2.0.5"),
    refused("an invalid GATEWAY in CNI_ARGS", ipam({}), "GATEWAY=x"),
    refused("an unknown key in CNI_ARGS", ipam({}), "FOO=1"),
    refused("an invalid address in args", ipam({}, { args: { cni: { ips: ["x"] } } })),
    refused("an address of the runtime without a prefix length", ipam({}, { runtimeConfig: { ips: ["10.4.0.5"] } })),
    refused("an invalid route", ipam({ addresses: [FOUR], routes: [{ dst: "x" }] })),
  ],
};
