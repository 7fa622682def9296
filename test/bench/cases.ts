/** The benchmark cases, with the bounds of their ratios. */
import type { BenchCase, Bound, Load, Measure, Side, Step, Verb } from "./case.ts";

/** 100 Mbit/s in both directions, with bursts of 1 Mbit. */
const BANDWIDTH = { ingressRate: 1e8, ingressBurst: 1e6, egressRate: 1e8, egressBurst: 1e6 };
const PORT = { hostPort: 8080, containerPort: 80, protocol: "tcp" };
const CHAIN = ["loopback", "bridge", "portmap", "bandwidth"];
/** The plugins that create the pod's interface, or are called without one: they get no result on ADD. */
const FIRST = ["loopback", "bridge", "ptp", "host-local"];

const EMPTY: Load = { reservations: 0, hostPorts: 0, foreignChains: 0 };
const FULL: Load = { reservations: 60_000, hostPorts: 1000, foreignChains: 5000 };

const SIDES = sidesWith(EMPTY);

export const CASES: readonly BenchCase[] = [
  {
    name: "start",
    title: "Start of a process",
    note: "VERSION and STATUS of bridge with host-local",
    sides: SIDES,
    measures: [alone("VERSION"), alone("STATUS")],
    configure,
    bounds: { VERSION: bounds(1.3, 0.38), STATUS: bounds(1.3, 0.38) },
  },
  {
    name: "bridge",
    title: "bridge with host-local",
    note: "an address, two routes, a port of the bridge",
    sides: SIDES,
    measures: attach(["bridge"]),
    configure,
    bounds: { ADD: bounds(2, 0.27), DEL: bounds(1.15, 0.65) },
  },
  {
    name: "masquerade",
    title: "bridge with host-local and ipMasq",
    note: "the reference masquerades by iptables, its default; floor and weft by nftables",
    sides: SIDES,
    measures: attach(["bridge"]),
    configure: configureMasquerade,
    bounds: { ADD: bounds(2, 0.14), DEL: bounds(1.2, 0.28) },
  },
  {
    name: "chain",
    title: "The Kubernetes chain",
    note: "loopback, bridge with host-local, portmap with one port (reference: iptables, its default), bandwidth",
    sides: SIDES,
    measures: attach(CHAIN),
    configure,
    bounds: { ADD: bounds(2, 0.18), DEL: bounds(1.2, 0.35) },
  },
  {
    name: "portmap",
    title: "portmap with one port",
    note: "the reference uses iptables, its default; floor and weft use nftables",
    sides: SIDES,
    measures: chained("portmap"),
    configure,
    bounds: {},
  },
  {
    name: "bandwidth",
    title: "bandwidth in both directions",
    note: "a bucket on the host's end of the veth, and one on an ifb device",
    sides: SIDES,
    measures: chained("bandwidth"),
    configure,
    bounds: {},
  },
  {
    name: "ptp",
    title: "ptp with host-local",
    note: "a veth with an address and routes on both ends",
    sides: SIDES,
    measures: attach(["ptp"]),
    configure,
    bounds: {},
  },
  reservations("addresses-0", 0),
  reservations("addresses-1000", 1000),
  reservations("addresses-4000", 4000),
  {
    name: "parallel",
    title: "200 pods, 16 at a time",
    note: "bridge with host-local",
    sides: SIDES,
    measures: attach(["bridge"]),
    configure,
    bounds: { ADD: bounds(0.5, 3.5) },
    parallel: { pods: 200, atOnce: 16 },
  },
  {
    name: "full-node",
    title: "The Kubernetes chain with ipMasq on a full node",
    note: "full: 60,000 addresses reserved, 1,000 host ports mapped, 5,000 chains of another program",
    sides: [
      { name: "empty node", program: "weft", index: 0, load: EMPTY },
      { name: "full node", program: "weft", index: 1, load: FULL },
    ],
    measures: attach(CHAIN),
    configure: configureMasquerade,
    bounds: { ADD: [{ over: "empty node", limit: 1.1 }] },
  },
];

function reservations(name: string, count: number): BenchCase {
  return {
    name,
    title: `host-local with ${count.toLocaleString("en")} addresses in use`,
    note: "called directly",
    sides: sidesWith({ ...EMPTY, reservations: count }),
    measures: attach(["host-local"]),
    configure,
    bounds: {},
  };
}

function sidesWith(load: Load): Side[] {
  return (["reference", "floor", "weft"] as const).map((name, index) => ({ name, program: name, index, load }));
}

function bounds(overFloor: number, overReference: number): Bound[] {
  return [
    { over: "floor", limit: overFloor },
    { over: "reference", limit: overReference },
  ];
}

/** ADD and DEL of the plugins as a runtime calls them: each in a process of its own, DEL in reverse order. */
function attach(plugins: readonly string[]): Measure[] {
  const add = plugins.map((plugin): Step => {
    return { plugin, verb: "ADD", hasPrevious: !FIRST.includes(plugin), keepsResult: plugin !== "loopback" };
  });
  const del = plugins.toReversed().map((plugin): Step => {
    return { plugin, verb: "DEL", hasPrevious: plugin !== "loopback", keepsResult: false };
  });
  return [
    { row: "ADD", steps: add },
    { row: "DEL", steps: del },
  ];
}

/** Calls of one chained plugin between unmeasured calls of bridge. */
function chained(plugin: string): Measure[] {
  const [add, del] = attach(["bridge", plugin]);
  const only = (measure: Measure | undefined, name: string) =>
    (measure?.steps ?? []).filter((step) => step.plugin === name);
  return [
    { row: undefined, steps: only(add, "bridge") },
    { row: "ADD", steps: only(add, plugin) },
    { row: "DEL", steps: only(del, plugin) },
    { row: undefined, steps: only(del, "bridge") },
  ];
}

function alone(verb: Verb): Measure {
  return { row: verb, steps: [{ plugin: "bridge", verb, hasPrevious: false, keepsResult: false }] };
}

function configure(plugin: string, { index, name }: Side, dataDir: string): object {
  const network = { cniVersion: "1.1.0", name: `bench-${name.replaceAll(" ", "-")}`, type: plugin };
  const ipam = {
    type: "host-local",
    ranges: [[{ subnet: `10.${240 + index}.0.0/16` }]],
    routes: [{ dst: "10.96.0.0/12" }],
    dataDir,
  };
  switch (plugin) {
    case "bridge":
      return { ...network, bridge: "bench0", isDefaultGateway: true, hairpinMode: true, mtu: 1450, ipam };
    case "ptp":
      return { ...network, mtu: 1450, ipam };
    case "host-local":
      return { ...network, ipam };
    case "portmap":
      return { ...network, runtimeConfig: { portMappings: [PORT] } };
    case "bandwidth":
      return { ...network, runtimeConfig: { bandwidth: BANDWIDTH } };
    default:
      return network;
  }
}

function configureMasquerade(plugin: string, side: Side, dataDir: string): object {
  return { ...configure(plugin, side, dataDir), ...(plugin === "bridge" ? { ipMasq: true } : {}) };
}
