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

/** Devices and channels here are vxlan's. */
const ofVxlan = <T>(parts: readonly T[]) => new Map([["vxlan", parts]]);

/** A device that this node already has. */
const held = (name: string, mac: string, vni = 1, port = 8472, family: 4 | 6 = 4): KnownVtep => ({
  ...{ name, mac },
  device: { vni, port, family, isOurs: true },
});

describe("vxlan", () => {
  test("has flannel's device and three entries for each peer", () => {
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

  test("makes no device for a family that the underlay cannot carry and reports the reason", () => {
    const of6 = { 6: parseAddress("2001:db8::1") };
    const narrow = { ...dualNode, underlay: { ...dualNode.underlay, local: of6, mtu: 1340 } };
    const { dataPath, problems } = desire({ Type: "vxlan" }, narrow, [], [], DUAL);
    expect(dataPath.devices.map(({ name, mtu }) => [name, mtu])).toEqual([["flannel-v6.1", 1270]]);
    expect(problems).toEqual([
      { peer: "n1", trouble: "Underlay", reason: expect.stringContaining("leaves 1270 bytes within VXLAN") },
    ]);
  });

  test("reports a peer whose VTEP has the hardware address of another node's VTEP", () => {
    const clone = peer(3, { vtepMacs: { 4: "0a:00:00:00:00:02" } });
    const self = peer(4, { vtepMacs: { 4: deriveMac("n1", "flannel.1") } });
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2), clone, self]);
    expect(dataPath.forwarding).toEqual([
      { device: "flannel.1", mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") },
    ]);
    expect(dataPath.routes).toHaveLength(1);
    expect(problems).toEqual([
      { peer: "n3", trouble: "SameMac", reason: expect.stringContaining("0a:00:00:00:00:02 is also n2's") },
      { peer: "n4", trouble: "SameMac", reason: expect.stringContaining("is also this node's") },
    ]);
  });

  test("treats two Nodes with one address as one machine", () => {
    const renamed = { ...peer(2), name: "n2-new", subnets: [parsePrefix("10.244.7.0/24")] };
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2), renamed]);
    expect(problems).toEqual([]);
    expect(dataPath.forwarding).toHaveLength(1);
    expect(dataPath.routes).toHaveLength(2);
  });

  test("subtracts 70 bytes on an IPv6 underlay and gives pods the smaller of both MTUs", () => {
    const { dataPath, podMtu } = desire({ Type: "vxlan" }, dualNode, [], [], DUAL);
    expect(dataPath.devices.map(({ name, mtu }) => [name, mtu])).toEqual([
      ["flannel.1", 1450],
      ["flannel-v6.1", 1430],
    ]);
    expect(podMtu).toBe(1430);
  });

  test("uses plain routes to peers on the same link if configured", () => {
    const far = peer(3, { addresses: [parseAddress("198.51.100.3")] });
    const { dataPath } = desire({ Type: "vxlan", DirectRouting: true }, node, [peer(2), far]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
    expect(dataPath.forwarding.map(({ destination }) => destination)).toEqual([parseAddress("198.51.100.3")]);
  });

  test.each([
    ["has announced no backend", "NotAnnounced", { backendType: undefined }, /announced no backend yet/],
    ["has an unknown backend", "OtherBackend", { backendType: "wireguard" }, /its backend is wireguard/],
    ["has announced no VTEP", "NotAnnounced", { vtepMacs: {} }, /no VTEP MAC for IPv4/],
    ["has no address", "NotAnnounced", { addresses: [] }, /no IPv4 address/],
  ])("reports a peer that %s and serves the others", (_name, trouble, overrides, reason) => {
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2, overrides), peer(3)]);
    expect(problems).toEqual([{ peer: "n2", trouble, reason: expect.stringMatching(reason) }]);
    expect(dataPath.routes.map(({ destination }) => formatPrefix(destination))).toEqual(["10.244.3.0/24"]);
  });

  test("masquerades towards other nodes' own addresses", () => {
    expect(desire({ Type: "vxlan" }, node, [peer(2)]).unmasqueraded).toEqual([]);
  });
});

test("auto uses plain routes to peers on the link and VXLAN to others, and announces its VTEP", () => {
  const far = peer(3, { addresses: [parseAddress("198.51.100.3")] });
  const { dataPath, podMtu, endpoints, isAsymmetric } = desire({}, node, [peer(2), far]);
  expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
  expect(podMtu).toBe(1450);
  expect(endpoints).toEqual({ 4: deriveMac("n1", "flannel.1") });
  // A peer without plain routes announces the same.
  expect(isAsymmetric).toBe(true);
});

describe("while a cluster changes from vxlan to host-gw or back", () => {
  const hostGw = peer(3, { backendType: "host-gw", vtepMacs: {} });

  test("a host-gw node keeps its VTEP with its MAC for vxlan peers and announces none", () => {
    const known = [held("flannel.1", "32:89:cd:1b:fd:1c")];
    const state = desire({ Type: "host-gw" }, node, [peer(2), hostGw], known);
    expect(state.dataPath.devices).toMatchObject([{ name: "flannel.1", mac: "32:89:cd:1b:fd:1c", vni: 1, port: 8472 }]);
    expect(state.dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
    expect(state).toMatchObject({ endpoints: {}, podMtu: 1450, isAsymmetric: true, problems: [] });
    // A peer that does not announce host-gw may have no route back to a pod.
    expect(state.unmasqueraded).toEqual([parseAddress("192.0.2.3")]);
  });

  test("a host-gw node without a VTEP makes one with the VNI that the peer announces", () => {
    const { dataPath } = desire({ Type: "host-gw" }, node, [peer(2, { vni: 7, port: 4789 })]);
    expect(dataPath.devices).toMatchObject([{ name: "flannel.7", vni: 7, port: 4789 }]);
  });

  test("a VTEP kept for peers that have not seen the new annotation only receives", () => {
    const keep: Channels = ofVxlan([{ vni: 1, port: 8472 }]);
    const known = [held("flannel.1", "32:89:cd:1b:fd:1c")];
    const state = desiredState(conf({ Type: "host-gw" }), node, [hostGw], ofVxlan(known), keep);
    expect(state.dataPath.devices).toMatchObject([{ name: "flannel.1", mac: "32:89:cd:1b:fd:1c" }]);
    expect(state).toMatchObject({ podMtu: 1500, isAsymmetric: false, endpoints: {} });
    expect(state.dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }]);
  });

  test("the VTEP is removed when no peer announces vxlan", () => {
    const { dataPath, podMtu, isAsymmetric } = desire({ Type: "host-gw" }, node, [hostGw], [held("flannel.1", "0a")]);
    expect(dataPath.devices).toEqual([]);
    expect([podMtu, isAsymmetric]).toEqual([1500, false]);
  });

  test("a vxlan node sends to a host-gw peer by a plain route", () => {
    const { dataPath, problems, isAsymmetric } = desire({ Type: "vxlan" }, node, [peer(2), hostGw]);
    expect(problems).toEqual([]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { device: "flannel.1" }]);
    expect(isAsymmetric).toBe(true);
  });

  test("a host-gw peer that is not on the link is reported", () => {
    const far = { ...hostGw, addresses: [parseAddress("198.51.100.3")] };
    expect(desire({ Type: "vxlan" }, node, [far]).problems).toMatchObject([{ peer: "n3", trouble: "OffLink" }]);
  });

  test("paths are symmetric if all nodes have vxlan", () => {
    expect(desire({ Type: "vxlan" }, node, [peer(2), peer(3)]).isAsymmetric).toBe(false);
  });
});

describe("while a cluster changes its VNI or port", () => {
  const known = [held("flannel.1", "32:89:cd:1b:fd:1c")];

  test("the old device stays for peers that still announce the old VNI, and both have one MAC", () => {
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

  test("a node that has not changed yet gets the new device, too", () => {
    const { dataPath } = desire({ Type: "vxlan" }, node, [peer(2, { vni: 2 })], known);
    expect(dataPath.devices.map(({ name }) => name)).toEqual(["flannel.1", "flannel.2"]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ device: "flannel.2" }]);
  });

  test("another port with the same VNI needs a device under another name, which is kept", () => {
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

  test("peers' announcements cause at most three devices; further peers are reported", () => {
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

describe("pods of a family that the underlay does not have", () => {
  const of4 = { ...dualNode, underlay: node.underlay };
  const of6 = { ...dualNode, underlay: { ...dualNode.underlay, local: { 6: parseAddress("2001:db8::1") } } };
  const dualPeer = (more: Partial<VxlanPeer>) =>
    peer(2, { subnets: [parsePrefix("10.244.2.0/24"), parsePrefix("fd00:10:244:2::/64")], ...more });
  const v6 = { addresses: [parseAddress("2001:db8::2")], vtepMacs: { 6: "0a:00:00:00:00:62" } } as const;

  test("use the other family's device: IPv6 over an IPv4 underlay", () => {
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

  test("use the other family's device: IPv4 over an IPv6 underlay", () => {
    const { dataPath, podMtu, endpoints, problems } = desire({ Type: "vxlan" }, of6, [dualPeer(v6)], [], DUAL);
    expect([problems, podMtu]).toEqual([[], 1430]);
    expect(dataPath.devices.map(({ name }) => name)).toEqual(["flannel-v6.1"]);
    expect(dataPath.forwarding).toEqual([
      { device: "flannel-v6.1", mac: "0a:00:00:00:00:62", destination: parseAddress("2001:db8::2") },
    ]);
    expect(dataPath.routes).toHaveLength(2);
    expect(endpoints).toEqual({ 6: deriveMac("n1", "flannel-v6.1") });
  });

  test("use the family of a peer that lacks the other one", () => {
    const { dataPath, problems } = desire({ Type: "vxlan" }, dualNode, [dualPeer({})], [], DUAL);
    expect(problems).toEqual([]);
    expect(dataPath.devices.map(({ name }) => name)).toEqual(["flannel.1", "flannel-v6.1"]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ device: "flannel.1" }, { device: "flannel.1" }]);
  });

  test("causes no problem for a family that the network does not serve", () => {
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

  test("routes IPv4 pods by an IPv6 address if there is no other, and reports that the reverse is impossible", () => {
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
      {
        peer: "n2",
        trouble: "Underlay",
        reason: expect.stringContaining("has no IPv6 address, which is needed to route fd00"),
      },
    ]);
  });

  test("reports a peer on another link", () => {
    const { dataPath, problems } = desire({ Type: "host-gw" }, node, [
      peer(2, { addresses: [parseAddress("198.51.100.2")], backendType: "host-gw" }),
    ]);
    expect(dataPath.routes).toEqual([]);
    expect(problems).toEqual([
      { peer: "n2", trouble: "OffLink", reason: expect.stringContaining("198.51.100.2 is not on this node's link") },
    ]);
  });
});

test.each(["vxlan", "host-gw"])("a peer of %s at this node's own address gets no route and is reported", (Type) => {
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
      /0\.0\.0\.0\/0 is outside the cluster's networks \(10\.244\.0\.0\/16\)/,
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

  test("claimed by two peers is accepted for the first one", () => {
    const { problems } = desire({ Type: "vxlan" }, node, [
      peer(2),
      peer(3, { subnets: [parsePrefix("10.244.2.0/25")] }),
    ]);
    expect(problems).toEqual([
      { peer: "n3", trouble: "OverlappingSubnet", reason: expect.stringContaining("overlaps 10.244.2.0/24 of n2") },
    ]);
  });
});
