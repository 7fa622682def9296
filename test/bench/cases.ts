/** The benchmark cases, with the bounds of their ratios. */
import type { BenchCase, Bound, Measure, Side, Step, Verb } from "./case.ts";

const SIDES: readonly Side[] = [
  { name: "reference", program: "reference", index: 0 },
  { name: "floor", program: "floor", index: 1 },
  { name: "weft", program: "weft", index: 2 },
];

/** 100 Mbit/s in both directions, with bursts of 1 Mbit. */
const BANDWIDTH = { ingressRate: 1e8, ingressBurst: 1e6, egressRate: 1e8, egressBurst: 1e6 };
const PORT = { hostPort: 8080, containerPort: 80, protocol: "tcp" };

function bounds(overFloor: number, overReference: number): Bound[] {
  return [
    { over: "floor", limit: overFloor },
    { over: "reference", limit: overReference },
  ];
}

/** The configuration of a plugin, the same for all sides except for what they must not share. */
function configurePlugin(plugin: string, { index, name }: Side, dataDir: string, ipMasq = false): object {
  const network = { cniVersion: "1.1.0", name: `bench-${name.replaceAll(" ", "-")}`, type: plugin };
  const ipam = {
    type: "host-local",
    ranges: [[{ subnet: `10.${240 + index}.0.0/16` }]],
    routes: [{ dst: "10.96.0.0/12" }],
    dataDir,
  };
  switch (plugin) {
    case "bridge":
      return { ...network, bridge: "bench0", isDefaultGateway: true, hairpinMode: true, ipMasq, mtu: 1450, ipam };
    case "ptp":
      return { ...network, ipMasq, mtu: 1450, ipam };
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

const configure = (plugin: string, side: Side, dataDir: string) => configurePlugin(plugin, side, dataDir);
const configureMasquerade = (plugin: string, side: Side, dataDir: string) =>
  configurePlugin(plugin, side, dataDir, true);

/** ADD and DEL of the plugins as a runtime calls them: each in a process of its own, DEL in reverse order. */
function attach(plugins: readonly string[]): Measure[] {
  const isFirst = (plugin: string) => plugin === "loopback" || plugin === "bridge" || plugin === "ptp";
  const add = plugins.map((plugin): Step => {
    const keepsResult = plugin !== "loopback";
    return { plugin, verb: "ADD", hasPrevious: !isFirst(plugin), keepsResult };
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
  const step = (name: string, verb: Verb): Step => {
    return { plugin: name, verb, hasPrevious: name !== "bridge" || verb === "DEL", keepsResult: verb === "ADD" };
  };
  return [
    { row: undefined, steps: [step("bridge", "ADD")] },
    { row: "ADD", steps: [step(plugin, "ADD")] },
    { row: "DEL", steps: [step(plugin, "DEL")] },
    { row: undefined, steps: [step("bridge", "DEL")] },
  ];
}

function alone(verb: Verb): Measure {
  return { row: verb, steps: [{ plugin: "bridge", verb, hasPrevious: false, keepsResult: false }] };
}

export const CASES: readonly BenchCase[] = [
  {
    name: "start",
    title: "Start of a process",
    note: "VERSION and STATUS of bridge with host-local",
    ...{ sides: SIDES, configure },
    measures: [alone("VERSION"), alone("STATUS")],
    bounds: { VERSION: bounds(1.3, 0.38), STATUS: bounds(1.3, 0.38) },
  },
  {
    name: "bridge",
    title: "bridge with host-local",
    note: "one pod, its gateway on the bridge, two routes",
    ...{ sides: SIDES, configure },
    measures: attach(["bridge"]),
    bounds: { ADD: bounds(2, 0.27), DEL: bounds(1.15, 0.65) },
  },
  {
    name: "masquerade",
    title: "bridge with host-local and ipMasq",
    note: "the reference masquerades by iptables, its default; floor and weft by nftables",
    ...{ sides: SIDES, configure: configureMasquerade },
    measures: attach(["bridge"]),
    bounds: { ADD: bounds(2, 0.14), DEL: bounds(1.2, 0.28) },
  },
  {
    name: "chain",
    title: "The chain of Kubernetes",
    note: "loopback, bridge with host-local, portmap with one port, bandwidth: a process each; the reference's portmap uses iptables, its default",
    ...{ sides: SIDES, configure },
    measures: attach(["loopback", "bridge", "portmap", "bandwidth"]),
    bounds: { ADD: bounds(2, 0.18), DEL: bounds(1.2, 0.35) },
  },
  {
    name: "portmap",
    title: "portmap with one port",
    note: "the reference uses iptables, its default; floor and weft use nftables",
    ...{ sides: SIDES, configure },
    measures: chained("portmap"),
    bounds: {},
  },
  {
    name: "bandwidth",
    title: "bandwidth in both directions",
    note: "a bucket on the host's end of the veth, and one on an ifb device",
    ...{ sides: SIDES, configure },
    measures: chained("bandwidth"),
    bounds: {},
  },
];
