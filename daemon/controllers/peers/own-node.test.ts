import { describe, expect, test } from "vitest";
import { type NetConf, parseNetConf } from "../../../pkg/backend/net-conf.ts";
import { ANNOTATION, formatAnnotations } from "../../../pkg/cluster/node/annotations.ts";
import { type ClusterNode, parseNode } from "../../../pkg/cluster/node/node.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix, parsePrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import { RT_SCOPE } from "../../../pkg/netlink/route.ts";
import { announcementOf, localNode, ownSubnets } from "./own-node.ts";
import type { UnderlayChoice } from "./underlay.ts";

const conf: NetConf = parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":7}}');

function node(podCIDRs: readonly string[], annotations: Readonly<Record<string, string>> = {}): ClusterNode {
  return parseNode({ metadata: { name: "n1", annotations }, spec: { podCIDRs } });
}

function textOf(found: ReturnType<typeof ownSubnets>) {
  return typeof found === "string" ? found : [found.subnets.map(formatPrefix), found.unused];
}

describe("ownSubnets", () => {
  test("are the podCIDRs inside the cluster's networks", () => {
    expect(textOf(ownSubnets("n1", node(["10.244.1.0/24", "fd00::/64"]), conf))).toEqual([["10.244.1.0/24"], []]);
  });

  test.each<[string, string[], string[], string[]]>([
    [
      "inside another",
      ["10.244.1.0/24", "10.244.0.0/23"],
      ["10.244.0.0/23"],
      ["10.244.1.0/24 is contained in 10.244.0.0/23"],
    ],
    [
      "listed twice",
      ["10.244.1.0/24", "10.244.1.0/24"],
      ["10.244.1.0/24"],
      ["10.244.1.0/24 is contained in 10.244.1.0/24"],
    ],
    [
      "too small",
      ["10.244.2.0/31", "10.244.3.0/30"],
      ["10.244.3.0/30"],
      ["10.244.2.0/31 has no address besides the gateway's"],
    ],
  ])("do not include a podCIDR that is %s, and name the reason", (_name, podCidrs, subnets, unused) => {
    expect(textOf(ownSubnets("n1", node(podCidrs), conf))).toEqual([
      subnets,
      unused.map((text) => expect.stringContaining(text)),
    ]);
  });

  test.each<[string, ClusterNode | undefined, RegExp]>([
    ["there is no such Node", undefined, /no Node n1: .*--node-name/],
    ["it has no podCIDRs yet", node([]), /no spec\.podCIDRs yet: .*--allocate-node-cidrs/],
    ["they are outside the networks", node(["10.1.0.0/24"]), /\(10\.1\.0\.0\/24\) are outside .*\(10\.244\.0\.0\/16\)/],
    ["they are wider than the network", node(["10.0.0.0/8"]), /are outside/],
    [
      "they have no address for a pod",
      node(["10.244.1.0/31"]),
      /no pod can .*10\.244\.1\.0\/31 .*--node-cidr-mask-size/,
    ],
  ])("are unknown while %s, and the reason says so", (_name, own, reason) => {
    expect(ownSubnets("n1", own, conf)).toMatch(reason);
  });
});

const choice: UnderlayChoice = {
  link: {
    index: 2,
    name: "eth0",
    mtu: 1400,
    mac: "02:00:00:00:00:01",
    isUp: true,
    isPromiscuous: false,
    isAllMulticast: false,
    txQueueLength: 1000,
    isOperational: true,
    kind: "",
    masterIndex: 0,
    peerIndex: 0,
    alias: "",
    vxlan: undefined,
    bridge: undefined,
    port: undefined,
  },
  ipv4: { local: parseAddress("192.0.2.1"), announced: parseAddress("203.0.113.1") },
  ipv6: { local: parseAddress("2001:db8::1"), announced: parseAddress("2001:db8::1") },
  reason: "--iface",
};

const address = (index: number, text: string, scope: number = RT_SCOPE.universe) => ({
  index,
  prefix: parsePrefix(text),
  scope,
  isTentative: false,
  isDuplicate: false,
});

test("the local node has the interface's MTU, its own sources and its networks", () => {
  const held = [address(2, "192.0.2.1/24"), address(2, "fe80::1/64", RT_SCOPE.link), address(3, "10.0.0.1/8")];
  const local = localNode("n1", [parseSubnet("10.244.1.0/24")], choice, held);
  expect(local.underlay).toEqual({
    index: 2,
    mtu: 1400,
    local: { 4: parseAddress("192.0.2.1"), 6: parseAddress("2001:db8::1") },
    networks: [parsePrefix("192.0.2.1/24")],
  });
});

describe("announcementOf", () => {
  const of4 = localNode("n1", [parseSubnet("10.244.1.0/24")], choice, []);
  const dual = localNode("n1", [parseSubnet("10.244.1.0/24"), parseSubnet("fd00::/64")], choice, []);
  const macs = { 4: "0a:00:00:00:00:01", 6: "0a:00:00:00:00:61" };

  test("names the families that have pods", () => {
    const wanted = formatAnnotations(announcementOf(conf.backend, of4, node([]), choice, { 4: macs[4] }));
    expect(wanted).toMatchObject({
      [ANNOTATION.backendType]: "vxlan",
      [ANNOTATION.backendData]: '{"VNI":7,"VtepMAC":"0a:00:00:00:00:01"}',
      [ANNOTATION.publicIp]: "203.0.113.1",
      [ANNOTATION.publicIpv6]: null,
    });
    const both = formatAnnotations(announcementOf(conf.backend, dual, node([]), choice, macs));
    expect(both).toMatchObject({
      [ANNOTATION.backendV6Data]: '{"VNI":7,"VtepMAC":"0a:00:00:00:00:61"}',
      [ANNOTATION.publicIpv6]: "2001:db8::1",
    });
  });

  test("includes the port, so that it can be changed node by node", () => {
    const wanted = formatAnnotations(announcementOf(conf.backend, of4, node([]), choice, { 4: macs[4] }));
    expect(wanted[ANNOTATION.vxlanPort]).toBe("8472");
  });

  test("over the underlay's other family includes that family", () => {
    const wanted = formatAnnotations(announcementOf(conf.backend, of4, node([]), choice, { 6: macs[6] }));
    expect(wanted).toMatchObject({
      [ANNOTATION.publicIp]: null,
      [ANNOTATION.backendData]: null,
      [ANNOTATION.backendV6Data]: '{"VNI":7,"VtepMAC":"0a:00:00:00:00:61"}',
      [ANNOTATION.publicIpv6]: "2001:db8::1",
    });
  });

  test("uses the administrator's override", () => {
    const own = node([], { [ANNOTATION.publicIpOverwrite]: "198.51.100.1" });
    expect(announcementOf(conf.backend, of4, own, choice, macs).publicIp).toEqual(parseAddress("198.51.100.1"));
  });

  test("of host-gw has no VTEP", () => {
    expect(announcementOf({ type: "host-gw" }, of4, node([]), choice, {}).backend).toEqual({
      type: "host-gw",
    });
  });
});
