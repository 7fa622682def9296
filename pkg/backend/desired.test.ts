import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { formatPrefix, parsePrefix } from "../ip/prefix.ts";
import type { VtepDevice } from "../kernel/vtep-device.ts";
import type { Channels } from "./contributions.ts";
import { deriveMac } from "./derived-mac.ts";
import { desiredState } from "./desired.ts";
import { parseNetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { KnownVtep } from "./vxlan/overlay.ts";
import type { VxlanPeer } from "./vxlan/peer.ts";

const conf = (backend: object, more: object = {}) =>
  parseNetConf(JSON.stringify({ Network: "10.244.0.0/16", Backend: backend, ...more }));
const DUAL = { EnableIPv6: true, IPv6Network: "fd00:10:244::/56" };

const node: LocalNode = {
  name: "n1",
  subnets: [parsePrefix("10.244.0.0/24")],
  underlay: { index: 2, mtu: 1500, local: { 4: parseAddress("192.0.2.1") }, networks: [parsePrefix("192.0.2.1/24")] },
};
const dualNode: LocalNode = {
  ...node,
  subnets: [...node.subnets, parsePrefix("fd00:10:244::/64")],
  underlay: {
    ...node.underlay,
    local: { 4: parseAddress("192.0.2.1"), 6: parseAddress("2001:db8::1") },
    networks: [parsePrefix("192.0.2.1/24"), parsePrefix("2001:db8::1/64")],
  },
};

function peer(number: number, overrides: Partial<VxlanPeer> = {}): VxlanPeer {
  return {
    name: `n${number}`,
    subnets: [parsePrefix(`10.244.${number}.0/24`)],
    addresses: [parseAddress(`192.0.2.${number}`)],
    backendType: "vxlan",
    vtepMacs: { 4: `0a:00:00:00:00:0${number}` },
    ...overrides,
  };
}

const desire = (
  configuration: object,
  self: LocalNode,
  peers: readonly Peer[],
  known: readonly KnownVtep[] = [],
  more = {},
) => {
  const state = desiredState(conf(configuration, more), self, peers, ofVxlan(known));
  return { ...state, dataPath: { ...state.dataPath, devices: state.dataPath.devices as readonly VtepDevice[] } };
};

/** Devices, or channels, are vxlan's. */
const ofVxlan = <T>(parts: readonly T[]) => new Map([["vxlan", parts]]);

/** A device that this node has already. */
const held = (name: string, mac: string, vni = 1, port = 8472, family: 4 | 6 = 4): KnownVtep => ({
  ...{ name, mac },
  device: { vni, port, family, isOurs: true },
});

describe("vxlan", () => {
  test("has flannel's device, and three entries a peer", () => {
    const { dataPath, podMtu, problems } = desire({ Type: "vxlan" }, node, [peer(2)]);
    expect(problems).toEqual([]);
    expect(podMtu).toBe(1450);
    expect(dataPath.devices).toEqual([
      {
        ...{ name: "flannel.1", vni: 1, port: 8472, local: parseAddress("192.0.2.1"), underlayIndex: 2, mtu: 1450 },
        ...{ mac: deriveMac("n1", "flannel.1"), addresses: [parsePrefix("10.244.0.0/32")] },
      },
    ]);
    expect(dataPath.neighbours).toEqual([
      { device: "flannel.1", address: parseAddress("10.244.2.0"), mac: "0a:00:00:00:00:02" },
    ]);
    expect(dataPath.forwarding).toEqual([
      { device: "flannel.1", mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") },
    ]);
    expect(dataPath.routes).toEqual([
      { destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("10.244.2.0"), by: { device: "flannel.1" } },
    ]);
  });

  test("keeps the hardware address that peers know", () => {
    const { endpoints } = desire({ Type: "vxlan" }, node, [], [held("flannel.1", "32:89:cd:1b:fd:1c")]);
    expect(endpoints).toEqual({ 4: "32:89:cd:1b:fd:1c" });
  });

  test("makes no device for a family that the underlay cannot carry, and says why", () => {
    const of6 = { 6: parseAddress("2001:db8::1") };
    const narrow = { ...dualNode, underlay: { ...dualNode.underlay, local: of6, mtu: 1340 } };
    const { dataPath, problems } = desire({ Type: "vxlan" }, narrow, [], [], DUAL);
    expect(dataPath.devices.map(({ name, mtu }) => [name, mtu])).toEqual([["flannel-v6.1", 1270]]);
    expect(problems).toEqual([
      { peer: "n1", trouble: "Underlay", reason: expect.stringContaining("leaves 1270 bytes within VXLAN") },
    ]);
  });

  test("names a peer whose VTEP has another's hardware address: frames for it cannot go to both", () => {
    const clone = peer(3, { vtepMacs: { 4: "0a:00:00:00:00:02" } });
    const self = peer(4, { vtepMacs: { 4: deriveMac("n1", "flannel.1") } });
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2), clone, self]);
    expect(dataPath.forwarding).toEqual([
      { device: "flannel.1", mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") },
    ]);
    expect(dataPath.routes).toHaveLength(1);
    expect(problems).toEqual([
      { peer: "n3", trouble: "SameMac", reason: expect.stringContaining("0a:00:00:00:00:02 is n2's too") },
      { peer: "n4", trouble: "SameMac", reason: expect.stringContaining("is this node's too") },
    ]);
  });

  test("takes two Nodes at one address for one machine", () => {
    const renamed = { ...peer(2), name: "n2-new", subnets: [parsePrefix("10.244.7.0/24")] };
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2), renamed]);
    expect(problems).toEqual([]);
    expect(dataPath.forwarding).toHaveLength(1);
    expect(dataPath.routes).toHaveLength(2);
  });

  test("leaves 70 bytes over an IPv6 underlay, and gives pods the smaller of both MTUs", () => {
    const { dataPath, podMtu } = desire({ Type: "vxlan" }, dualNode, [], [], DUAL);
    expect(dataPath.devices.map(({ name, mtu }) => [name, mtu])).toEqual([
      ["flannel.1", 1450],
      ["flannel-v6.1", 1430],
    ]);
    expect(podMtu).toBe(1430);
  });

  test("routes directly to peers on the same link where asked to", () => {
    const far = peer(3, { addresses: [parseAddress("198.51.100.3")] });
    const { dataPath } = desire({ Type: "vxlan", DirectRouting: true }, node, [peer(2), far]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
    expect(dataPath.forwarding.map(({ destination }) => destination)).toEqual([parseAddress("198.51.100.3")]);
  });

  test.each([
    ["has announced no backend", "NotAnnounced", { backendType: undefined }, /announced no backend yet/],
    ["has a backend that is none of ours", "OtherBackend", { backendType: "wireguard" }, /its backend is wireguard/],
    ["has announced no VTEP", "NotAnnounced", { vtepMacs: {} }, /no VTEP MAC for IPv4/],
    ["has no address", "NotAnnounced", { addresses: [] }, /no IPv4 address/],
  ])("names a peer that %s, and serves the others", (_name, trouble, overrides, reason) => {
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2, overrides), peer(3)]);
    expect(problems).toEqual([{ peer: "n2", trouble, reason: expect.stringMatching(reason) }]);
    expect(dataPath.routes.map(({ destination }) => formatPrefix(destination))).toEqual(["10.244.3.0/24"]);
  });

  test("masquerades towards other nodes' own addresses", () => {
    expect(desire({ Type: "vxlan" }, node, [peer(2)]).unmasqueraded).toEqual([]);
  });
});

test("auto routes plainly to peers on the link, by VXLAN to the others, and announces its VTEP", () => {
  const far = peer(3, { addresses: [parseAddress("198.51.100.3")] });
  const { dataPath, podMtu, endpoints, isAsymmetric } = desire({}, node, [peer(2), far]);
  expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
  expect(podMtu).toBe(1450);
  expect(endpoints).toEqual({ 4: deriveMac("n1", "flannel.1") });
  // A peer that does not route directly announces the same.
  expect(isAsymmetric).toBe(true);
});

describe("while a cluster changes from vxlan to host-gw or back", () => {
  const hostGw = peer(3, { backendType: "host-gw", vtepMacs: {} });

  test("a node of host-gw keeps its VTEP, with its MAC, for peers of vxlan, and announces none", () => {
    const known = [held("flannel.1", "32:89:cd:1b:fd:1c")];
    const state = desire({ Type: "host-gw" }, node, [peer(2), hostGw], known);
    expect(state.dataPath.devices).toMatchObject([{ name: "flannel.1", mac: "32:89:cd:1b:fd:1c", vni: 1, port: 8472 }]);
    expect(state.dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
    expect(state).toMatchObject({ endpoints: {}, podMtu: 1450, isAsymmetric: true, problems: [] });
    // Who does not announce host-gw may not know the way back to a pod.
    expect(state.unmasqueraded).toEqual([parseAddress("192.0.2.3")]);
  });

  test("it makes one where it has none, by the VNI that the peer announces", () => {
    const { dataPath } = desire({ Type: "host-gw" }, node, [peer(2, { vni: 7, port: 4789 })]);
    expect(dataPath.devices).toMatchObject([{ name: "flannel.7", vni: 7, port: 4789 }]);
  });

  test("one that is kept for peers who have not heard yet only receives", () => {
    const keep: Channels = ofVxlan([{ vni: 1, port: 8472 }]);
    const known = [held("flannel.1", "32:89:cd:1b:fd:1c")];
    const state = desiredState(conf({ Type: "host-gw" }), node, [hostGw], ofVxlan(known), keep);
    expect(state.dataPath.devices).toMatchObject([{ name: "flannel.1", mac: "32:89:cd:1b:fd:1c" }]);
    expect(state).toMatchObject({ podMtu: 1500, isAsymmetric: false, endpoints: {} });
    expect(state.dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }]);
  });

  test("and has none any more when nobody announces vxlan", () => {
    const { dataPath, podMtu, isAsymmetric } = desire({ Type: "host-gw" }, node, [hostGw], [held("flannel.1", "0a")]);
    expect(dataPath.devices).toEqual([]);
    expect([podMtu, isAsymmetric]).toEqual([1500, false]);
  });

  test("a node of vxlan sends to a peer of host-gw by a plain route", () => {
    const { dataPath, problems, isAsymmetric } = desire({ Type: "vxlan" }, node, [peer(2), hostGw]);
    expect(problems).toEqual([]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
    expect(isAsymmetric).toBe(true);
  });

  test("a peer of host-gw that is off the link has its name told", () => {
    const far = { ...hostGw, addresses: [parseAddress("198.51.100.3")] };
    expect(desire({ Type: "vxlan" }, node, [far]).problems).toMatchObject([{ peer: "n3", trouble: "OffLink" }]);
  });

  test("nothing is asymmetric where all have vxlan", () => {
    expect(desire({ Type: "vxlan" }, node, [peer(2), peer(3)]).isAsymmetric).toBe(false);
  });
});

describe("while a cluster changes its VNI or port", () => {
  const known = [held("flannel.1", "32:89:cd:1b:fd:1c")];

  test("the old device stays for those who still announce the old VNI, and both have one MAC", () => {
    const { dataPath, endpoints } = desire(
      { Type: "vxlan", VNI: 2 },
      node,
      [peer(2, { vni: 1 }), peer(3, { vni: 2 })],
      known,
    );
    expect(
      dataPath.devices.map(({ name, vni, mac, addresses }) => [name, vni, mac, addresses.map(formatPrefix)]),
    ).toEqual([
      ["flannel.2", 2, "32:89:cd:1b:fd:1c", ["10.244.0.0/32"]],
      ["flannel.1", 1, "32:89:cd:1b:fd:1c", ["10.244.0.0/32"]],
    ]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ device: "flannel.1" }, { device: "flannel.2" }]);
    expect(endpoints).toEqual({ 4: "32:89:cd:1b:fd:1c" });
  });

  test("who has not changed yet joins the new one, too", () => {
    const { dataPath } = desire({ Type: "vxlan" }, node, [peer(2, { vni: 2 })], known);
    expect(dataPath.devices.map(({ name }) => name)).toEqual(["flannel.1", "flannel.2"]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ device: "flannel.2" }]);
  });

  test("another port of the same VNI needs a device under another name, which stays", () => {
    const peers = [peer(2, { vni: 1, port: 8472 })];
    const during = desire({ Type: "vxlan", Port: 4789 }, node, peers, known).dataPath.devices;
    expect(during.map(({ name, port }) => [name, port])).toEqual([
      ["weft.1", 4789],
      ["flannel.1", 8472],
    ]);
    const both = [...known, held("weft.1", "32:89:cd:1b:fd:1c", 1, 4789)];
    const after = desire({ Type: "vxlan", Port: 4789 }, node, [peer(2, { vni: 1, port: 4789 })], both).dataPath.devices;
    expect(after.map(({ name, port }) => [name, port])).toEqual([["weft.1", 4789]]);
  });

  test("what peers announce costs three devices at most; the next is told by name", () => {
    const peers = [2, 3, 4, 5].map((vni) => peer(vni, { vni }));
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [...peers, peer(6, { vni: 16_777_215 })], known);
    expect(dataPath.devices.map(({ vni }) => vni)).toEqual([1, 2, 3]);
    expect(problems).toMatchObject([
      { peer: "n4", trouble: "OtherBackend", reason: expect.stringContaining("VNI 4 at port 8472") },
      { peer: "n5", trouble: "OtherBackend" },
      { peer: "n6", trouble: "OtherBackend" },
    ]);
  });
});

describe("pods of a family that the underlay lacks", () => {
  const of4 = { ...dualNode, underlay: node.underlay };
  const of6 = { ...dualNode, underlay: { ...dualNode.underlay, local: { 6: parseAddress("2001:db8::1") } } };
  const dualPeer = (more: Partial<VxlanPeer>) =>
    peer(2, { subnets: [parsePrefix("10.244.2.0/24"), parsePrefix("fd00:10:244:2::/64")], ...more });
  const v6 = { addresses: [parseAddress("2001:db8::2")], vtepMacs: { 6: "0a:00:00:00:00:62" } } as const;

  test("go by the other one's device: IPv6 over an IPv4 underlay", () => {
    const { dataPath, podMtu, problems } = desire({ Type: "vxlan" }, of4, [dualPeer({})], [], DUAL);
    expect(problems).toEqual([]);
    expect(podMtu).toBe(1450);
    expect(dataPath.devices.map(({ name, addresses }) => [name, addresses.map(formatPrefix)])).toEqual([
      ["flannel.1", ["10.244.0.0/32", "fd00:10:244::/128"]],
    ]);
    expect(dataPath.forwarding).toHaveLength(1);
    expect(dataPath.neighbours.map(({ device, mac }) => [device, mac])).toEqual([
      ["flannel.1", "0a:00:00:00:00:02"],
      ["flannel.1", "0a:00:00:00:00:02"],
    ]);
    expect(dataPath.routes.map(({ destination }) => formatPrefix(destination))).toEqual([
      "10.244.2.0/24",
      "fd00:10:244:2::/64",
    ]);
  });

  test("IPv4 over an IPv6 underlay", () => {
    const { dataPath, podMtu, endpoints, problems } = desire({ Type: "vxlan" }, of6, [dualPeer(v6)], [], DUAL);
    expect([problems, podMtu]).toEqual([[], 1430]);
    expect(dataPath.devices.map(({ name }) => name)).toEqual(["flannel-v6.1"]);
    expect(dataPath.forwarding).toEqual([
      { device: "flannel-v6.1", mac: "0a:00:00:00:00:62", destination: parseAddress("2001:db8::2") },
    ]);
    expect(dataPath.routes).toHaveLength(2);
    expect(endpoints).toEqual({ 6: deriveMac("n1", "flannel-v6.1") });
  });

  test("and to a peer that lacks it, from a node that has both", () => {
    const { dataPath, problems } = desire({ Type: "vxlan" }, dualNode, [dualPeer({})], [], DUAL);
    expect(problems).toEqual([]);
    expect(dataPath.devices.map(({ name }) => name)).toEqual(["flannel.1", "flannel-v6.1"]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ device: "flannel.1" }, { device: "flannel.1" }]);
  });

  test("a family that the network does not serve is nobody's problem", () => {
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [dualPeer({})]);
    expect(problems).toEqual([]);
    expect(dataPath.routes).toHaveLength(1);
  });
});

describe("host-gw", () => {
  test("routes each subnet to its node, at the underlay's full MTU", () => {
    const { dataPath, podMtu, unmasqueraded } = desire({ Type: "host-gw" }, node, [
      peer(2, { backendType: "host-gw" }),
    ]);
    expect(dataPath).toEqual({
      ...{ devices: [], neighbours: [], forwarding: [] },
      routes: [{ destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("192.0.2.2"), by: { index: 2 } }],
    });
    expect(podMtu).toBe(1500);
    expect(unmasqueraded).toEqual([parseAddress("192.0.2.2")]);
  });

  test("routes IPv4 pods by the IPv6 address where this node has no other, and tells that it cannot the other way", () => {
    const of6 = { 6: parseAddress("2001:db8::1") };
    const six = { ...dualNode, underlay: { ...dualNode.underlay, local: of6 } };
    const both = peer(2, {
      ...{ backendType: "host-gw", addresses: [parseAddress("2001:db8::2")] },
      subnets: [parsePrefix("10.244.2.0/24"), parsePrefix("fd00:10:244:2::/64")],
    });
    const { dataPath, problems } = desire({ Type: "host-gw" }, six, [both], [], DUAL);
    expect(problems).toEqual([]);
    expect(dataPath.routes.map(({ gateway }) => gateway)).toEqual([
      parseAddress("2001:db8::2"),
      parseAddress("2001:db8::2"),
    ]);
    const four = { ...dualNode, underlay: node.underlay };
    const other = { ...both, addresses: [parseAddress("192.0.2.2")] };
    expect(desire({ Type: "host-gw" }, four, [other], [], DUAL).problems).toMatchObject([
      { peer: "n2", trouble: "Underlay", reason: expect.stringContaining("has no IPv6 address to route fd00") },
    ]);
  });

  test("names a peer that is on another link instead of losing its packets", () => {
    const { dataPath, problems } = desire({ Type: "host-gw" }, node, [
      peer(2, { addresses: [parseAddress("198.51.100.2")], backendType: "host-gw" }),
    ]);
    expect(dataPath.routes).toEqual([]);
    expect(problems).toEqual([
      { peer: "n2", trouble: "OffLink", reason: expect.stringContaining("198.51.100.2 is not on this node's link") },
    ]);
  });
});

test.each(["vxlan", "host-gw"])("a peer of %s at this node's own address gets no route, and is named", (Type) => {
  const { dataPath, problems } = desire({ Type }, node, [peer(2, { addresses: [parseAddress("192.0.2.1")] }), peer(3)]);
  expect(dataPath.routes.map(({ destination }) => formatPrefix(destination))).toEqual(["10.244.3.0/24"]);
  expect(problems).toEqual([
    { peer: "n2", trouble: "SameAddress", reason: expect.stringContaining("192.0.2.1 is this node's own") },
  ]);
});

describe("a peer's subnet", () => {
  test.each([
    [
      "outside the cluster's networks",
      "ForeignSubnet",
      ["0.0.0.0/0"],
      /0\.0\.0\.0\/0 lies outside the cluster's networks \(10\.244\.0\.0\/16\)/,
    ],
    ["overlapping this node's", "OverlappingSubnet", ["10.244.0.128/25"], /overlaps 10\.244\.0\.0\/24 of this node/],
  ])("%s gets no route", (_name, trouble, subnets, reason) => {
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [
      peer(2, { subnets: subnets.map(parsePrefix) }),
      peer(3),
    ]);
    expect(problems).toEqual([{ peer: "n2", trouble, reason: expect.stringMatching(reason) }]);
    expect(dataPath.routes.map(({ destination }) => formatPrefix(destination))).toEqual(["10.244.3.0/24"]);
  });

  test("claimed by two stays with the first of them", () => {
    const { problems } = desire({ Type: "vxlan" }, node, [
      peer(2),
      peer(3, { subnets: [parsePrefix("10.244.2.0/25")] }),
    ]);
    expect(problems).toEqual([
      { peer: "n3", trouble: "OverlappingSubnet", reason: expect.stringContaining("overlaps 10.244.2.0/24 of n2") },
    ]);
  });
});
