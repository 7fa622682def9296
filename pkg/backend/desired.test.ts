import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { formatPrefix, parsePrefix } from "../ip/prefix.ts";
import type { Link } from "../kernel/link.ts";
import { desiredState } from "./desired.ts";
import { parseNetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import { deriveMac, knownVtepMacs } from "./vxlan.ts";

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

function peer(number: number, overrides: Partial<Peer> = {}): Peer {
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
  macs = new Map<string, string>(),
  more = {},
) => desiredState(conf(configuration, more), self, peers, macs);

describe("vxlan", () => {
  test("has flannel's device, and three entries a peer", () => {
    const { dataPath, podMtu, problems } = desire({ Type: "vxlan" }, node, [peer(2)]);
    expect(problems).toEqual([]);
    expect(podMtu).toBe(1450);
    expect(dataPath.vteps).toEqual([
      {
        ...{ name: "flannel.1", vni: 1, port: 8472, local: parseAddress("192.0.2.1"), underlayIndex: 2, mtu: 1450 },
        ...{ mac: deriveMac("n1", "flannel.1"), addresses: [parsePrefix("10.244.0.0/32")] },
      },
    ]);
    expect(dataPath.neighbours).toEqual([
      { vtep: "flannel.1", address: parseAddress("10.244.2.0"), mac: "0a:00:00:00:00:02" },
    ]);
    expect(dataPath.forwarding).toEqual([
      { vtep: "flannel.1", mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") },
    ]);
    expect(dataPath.routes).toEqual([
      { destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("10.244.2.0"), by: { vtep: "flannel.1" } },
    ]);
  });

  test("keeps the hardware address that peers know", () => {
    const { vtepMacs } = desire({ Type: "vxlan" }, node, [], new Map([["flannel.1", "32:89:cd:1b:fd:1c"]]));
    expect(vtepMacs).toEqual({ 4: "32:89:cd:1b:fd:1c" });
  });

  test("makes no device for a family that the underlay cannot carry, and says why", () => {
    const narrow = { ...dualNode, underlay: { ...dualNode.underlay, mtu: 1340 } };
    const { dataPath, problems } = desire({ Type: "vxlan" }, narrow, [], new Map(), DUAL);
    expect(dataPath.vteps.map(({ name, mtu }) => [name, mtu])).toEqual([["flannel.1", 1290]]);
    expect(problems).toEqual([
      { peer: "n1", trouble: "Underlay", reason: expect.stringContaining("leaves 1270 bytes within VXLAN") },
    ]);
    const { problems: without } = desire(
      { Type: "vxlan" },
      { ...dualNode, underlay: node.underlay },
      [],
      new Map(),
      DUAL,
    );
    expect(without).toEqual([
      { peer: "n1", trouble: "Underlay", reason: expect.stringContaining("has no IPv6 address") },
    ]);
  });

  test("names a peer whose VTEP has another's hardware address: frames for it cannot go to both", () => {
    const clone = peer(3, { vtepMacs: { 4: "0a:00:00:00:00:02" } });
    const self = peer(4, { vtepMacs: { 4: deriveMac("n1", "flannel.1") } });
    const { dataPath, problems } = desire({ Type: "vxlan" }, node, [peer(2), clone, self]);
    expect(dataPath.forwarding).toEqual([
      { vtep: "flannel.1", mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") },
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
    const { dataPath, podMtu } = desire({ Type: "vxlan" }, dualNode, [], new Map(), DUAL);
    expect(dataPath.vteps.map(({ name, mtu }) => [name, mtu])).toEqual([
      ["flannel.1", 1450],
      ["flannel-v6.1", 1430],
    ]);
    expect(podMtu).toBe(1430);
  });

  test("routes directly to peers on the same link where asked to", () => {
    const far = peer(3, { addresses: [parseAddress("198.51.100.3")] });
    const { dataPath } = desire({ Type: "vxlan", DirectRouting: true }, node, [peer(2), far]);
    expect(dataPath.routes.map(({ by }) => by)).toEqual([{ index: 2 }, { vtep: "flannel.1" }]);
    expect(dataPath.forwarding.map(({ destination }) => destination)).toEqual([parseAddress("198.51.100.3")]);
  });

  test.each([
    ["has announced no backend", "NotAnnounced", { backendType: undefined }, /announced no backend yet/],
    ["has another backend", "OtherBackend", { backendType: "host-gw" }, /its backend is host-gw/],
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

describe("host-gw", () => {
  test("routes each subnet to its node, at the underlay's full MTU", () => {
    const { dataPath, podMtu, unmasqueraded } = desire({ Type: "host-gw" }, node, [
      peer(2, { backendType: "host-gw" }),
    ]);
    expect(dataPath).toEqual({
      ...{ vteps: [], neighbours: [], forwarding: [] },
      routes: [{ destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("192.0.2.2"), by: { index: 2 } }],
    });
    expect(podMtu).toBe(1500);
    expect(unmasqueraded).toEqual([parseAddress("192.0.2.2")]);
  });

  test("names a peer that is on another link instead of losing its packets", () => {
    const { dataPath, problems } = desire({ Type: "host-gw" }, node, [
      peer(2, { addresses: [parseAddress("198.51.100.2")] }),
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

test("the hardware address that was announced beats the one that a device has now", () => {
  const link = { kind: "vxlan", name: "flannel.1", mac: "0a:00:00:00:00:66" } as Link;
  const remembered = new Map([["flannel.1", "0a:00:00:00:00:01"]]);
  expect(knownVtepMacs([link], new Map()).get("flannel.1")).toBe("0a:00:00:00:00:66");
  expect(knownVtepMacs([link], remembered).get("flannel.1")).toBe("0a:00:00:00:00:01");
  expect(knownVtepMacs([{ ...link, kind: "bridge" }], new Map()).size).toBe(0);
});

test("a derived hardware address is unicast, locally administered, and follows from the name", () => {
  const mac = deriveMac("n1", "flannel.1");
  expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
  expect(deriveMac("n1", "flannel.1")).toBe(mac);
  const others = Array.from({ length: 2000 }, (_, number) => deriveMac(`n${number + 2}`, "flannel.1"));
  expect(new Set([mac, ...others]).size).toBe(2001);
});
