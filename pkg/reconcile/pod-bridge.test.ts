import { expect, test } from "vitest";
import { type Prefix, parsePrefix, parseSubnet } from "../ip/prefix.ts";
import type { LinkAddress } from "../kernel/address.ts";
import type { Link } from "../kernel/link.ts";
import type { ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST, RTPROT_KERNEL } from "../netlink/route.ts";
import { type PodBridge, planLeftBridge, planPodBridge } from "./pod-bridge.ts";

const BRIDGE = 5;

const wanted: PodBridge = {
  name: "cni0",
  ports: new Set([7, 8].map((index) => `cni:cbr0/c${index}/eth0`)),
  gateways: [parsePrefix("10.244.1.1/24"), parsePrefix("fd00:1::1/64")],
  mac: "0a:00:00:00:00:01",
  mtu: 1450,
  hairpin: true,
};

const link = (index: number, name: string, more: Partial<Link>): Link => ({
  ...{ index, name, mtu: 1450, mac: `02:00:00:00:00:0${index}`, isUp: true, isPromiscuous: false },
  ...{ isAllMulticast: false, txQueueLength: 1000, isOperational: true, kind: "veth", masterIndex: 0 },
  ...{ peerIndex: 2, alias: "", vxlan: undefined, bridge: undefined, port: undefined },
  ...more,
});
const bridge = (more: Partial<Link> = {}) => link(BRIDGE, "cni0", { kind: "bridge", mac: wanted.mac, ...more });
const port = (index: number, more: Partial<Link> = {}) =>
  link(index, `veth${index}`, {
    ...{ alias: `cni:cbr0/c${index}/eth0`, masterIndex: BRIDGE, port: { isHairpin: true, isIsolated: false } },
    ...more,
  });
const address = (prefix: Prefix, index = BRIDGE): LinkAddress => ({
  ...{ index, prefix, scope: RT_SCOPE.universe, isTentative: false, isDuplicate: false },
});
const connected = (subnet: string): ObservedRoute => ({
  ...{ destination: parseSubnet(subnet), outputIndex: BRIDGE, protocol: RTPROT_KERNEL, table: RT_TABLE_MAIN },
  ...{ scope: RT_SCOPE.link, type: RTN_UNICAST, isMultipath: false },
});

const healthy: KernelSnapshot = {
  links: [bridge(), port(7), port(8)],
  addresses: wanted.gateways.map((gateway) => address(gateway)),
  routes: [connected("10.244.1.0/24"), connected("fd00:1::/64")],
  neighbours: [],
  forwarding: [],
};

const plan = (changes: Partial<KernelSnapshot>) => {
  const { requests, isComplete, conflicts } = planPodBridge(wanted, { ...healthy, ...changes });
  return { texts: requests.map(({ text }) => text), isComplete, conflicts };
};

test("plans nothing if the bridge is as wanted", () => {
  expect(plan({})).toEqual({ texts: [], isComplete: true, conflicts: [] });
});

test.each<[string, Partial<KernelSnapshot>, string[]]>([
  [
    "a detached port",
    { links: [bridge(), port(7, { masterIndex: 0, port: undefined }), port(8)] },
    ["ip link set index 7 master index 5 up", "ip link set index 7 type bridge_slave hairpin on"],
  ],
  [
    "a port attached to another bridge",
    { links: [bridge(), port(7, { masterIndex: 6 })] },
    ["ip link set index 7 master index 5 up", "ip link set index 7 type bridge_slave hairpin on"],
  ],
  [
    "a port that was set down",
    { links: [bridge(), port(7, { isUp: false })] },
    ["ip link set index 7 master index 5 up"],
  ],
  [
    "a port without hairpin mode",
    { links: [bridge(), port(7, { port: { isHairpin: false, isIsolated: false } })] },
    ["ip link set index 7 type bridge_slave hairpin on"],
  ],
  [
    "a missing gateway address with its route",
    { addresses: healthy.addresses.slice(1), routes: healthy.routes.slice(1) },
    ["ip address add 10.244.1.1/24 dev index 5"],
  ],
  [
    "a gateway's address with another length",
    { addresses: [address(parsePrefix("10.244.1.1/16")), ...healthy.addresses.slice(1)] },
    ["ip address add 10.244.1.1/24 dev index 5"],
  ],
  [
    "only the subnet's route missing",
    { routes: [] },
    ["ip route add 10.244.1.0/24 dev index 5 proto 2", "ip route add fd00:1::/64 dev index 5 proto 2 metric 256"],
  ],
])("%s", (_name, changes, texts) => {
  expect(plan(changes)).toEqual({ texts, isComplete: true, conflicts: [] });
});

test.each<[string, Link[], string]>([
  [
    "that does not exist is created with the MAC address that pods know",
    [],
    "ip link add cni0 address 0a:00:00:00:00:01",
  ],
  ["that is down is set up", [bridge({ isUp: false })], "ip link set index 5 address 0a:00:00:00:00:01 up"],
  [
    "with another hardware address is changed",
    [bridge({ mac: "02:00:00:00:00:99" })],
    "ip link set index 5 address 0a:00",
  ],
])("a bridge %s, and the rest is planned afterwards", (_name, links, text) => {
  const { texts, isComplete } = plan({ links: [...links, port(7, { masterIndex: 0 })], addresses: [], routes: [] });
  expect(isComplete).toBe(false);
  expect(texts).toEqual([expect.stringContaining(text)]);
});

test("repairs nothing without a port of ours", () => {
  const strangers = [port(7, { alias: "" }), port(8, { alias: "cni:other/c8/eth0" }), port(10, { masterIndex: 0 })];
  expect(plan({ links: strangers, addresses: [], routes: [] }).texts).toEqual([]);
});

test.each<[string, Partial<KernelSnapshot>, string[]]>([
  ["with the gateways' addresses is removed", { links: [bridge()] }, ["ip link del index 5"]],
  [
    "with one of them is removed",
    { links: [bridge()], addresses: healthy.addresses.slice(1) },
    ["ip link del index 5"],
  ],
  ["with a port stays", { links: [bridge(), port(7, { alias: "" })] }, []],
  ["without an address stays", { links: [bridge()], addresses: [] }, []],
  [
    "with another program's address stays",
    { links: [bridge()], addresses: [...healthy.addresses, address(parsePrefix("192.0.2.1/24"))] },
    [],
  ],
  ["that is not a bridge stays", { links: [bridge({ kind: "dummy" })] }, []],
])("when pods no longer need a bridge, one %s", (_name, changes, texts) => {
  expect(planLeftBridge(wanted, { ...healthy, ...changes }).requests.map(({ text }) => text)).toEqual(texts);
});

test.each(["10.244.9.1/24", "10.244.9.1/32"])(
  "when pods no longer need a bridge, one with only a former gateway (%s) is removed",
  (held) => {
    const former = { gateways: [{ gateway: parsePrefix("10.244.9.1/24"), held: "none" as const }], hosts: [] };
    const state = { ...healthy, links: [bridge()], addresses: [address(parsePrefix(held))] };
    const texts = planLeftBridge({ ...wanted, former }, state).requests.map(({ text }) => text);
    expect(texts).toEqual(["ip link del index 5"]);
    const others = { ...state, addresses: [...state.addresses, address(parsePrefix("192.0.2.9/24"))] };
    expect(planLeftBridge({ ...wanted, former }, others).requests.map(({ text }) => text)).toEqual([
      `ip address del ${held} dev index 5`,
    ]);
  },
);

test("reports another device with the bridge's name as a conflict", () => {
  const { texts, conflicts } = plan({ links: [link(5, "cni0", { kind: "dummy" }), port(7, { masterIndex: 0 })] });
  expect(texts).toEqual([]);
  expect(conflicts).toEqual([expect.stringMatching(/cni0 is not a bridge \(kind: dummy\)/)]);
});

const FORMER = parsePrefix("10.244.9.1/24");
const planFormer = (held: "subnet" | "single" | "none", changes: Partial<KernelSnapshot>) => {
  const former = { gateways: [{ gateway: FORMER, held }], hosts: [] };
  const { requests, isComplete } = planPodBridge({ ...wanted, former }, { ...healthy, ...changes });
  return { texts: requests.map(({ text }) => text), isComplete };
};
const withFormer = { addresses: [...healthy.addresses, address(FORMER)] };

test("repairs the gateway and the route of a former subnet while pods use them", () => {
  const routes = [...healthy.routes, connected("10.244.9.0/24")];
  expect(planFormer("subnet", { ...withFormer, routes })).toEqual({ texts: [], isComplete: true });
  expect(planFormer("subnet", withFormer)).toEqual({
    ...{ texts: ["ip route add 10.244.9.0/24 dev index 5 proto 2"], isComplete: true },
  });
  expect(planFormer("subnet", {}).texts).toEqual(["ip address add 10.244.9.1/24 dev index 5"]);
});

test("removes the gateway of a former subnet without pods, even if no pod is left at all", () => {
  const removal = { texts: ["ip address del 10.244.9.1/24 dev index 5"], isComplete: false };
  expect(planFormer("none", withFormer)).toEqual(removal);
  expect(planFormer("none", { ...withFormer, links: [bridge()] })).toEqual(removal);
  expect(plan(withFormer).texts).toEqual([]);
});
