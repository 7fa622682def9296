import { expect, test } from "vitest";
import { type ClusterNode, parseNode } from "../../../pkg/cluster/node/node.ts";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { parsePrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import { describeRoute, type ObservedRoute } from "../../../pkg/kernel/route.ts";
import { RT_TABLE_MAIN, RTN_UNICAST } from "../../../pkg/netlink/route.ts";
import { parseVia } from "../../outside-options.ts";
import { type OutsideKernel, outsideWays } from "./ways.ts";

const node = (name: string, addresses: readonly string[], podCIDRs: readonly string[]): ClusterNode =>
  parseNode({
    metadata: { name },
    spec: { podCIDRs },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
  });
const link = (index: number, isUp = true) => ({ index, isUp }) as Link;
const address = (index: number, prefix: string): LinkAddress => ({
  ...{ index, prefix: parsePrefix(prefix), scope: 0, isTentative: false, isDuplicate: false },
});
const route = (destination: string, protocol = 4): ObservedRoute => ({
  ...{ destination: parseSubnet(destination), protocol, table: RT_TABLE_MAIN, scope: 0, type: RTN_UNICAST },
  isMultipath: false,
});
const KERNEL: OutsideKernel = {
  links: [link(2), link(3), link(4, false)],
  addresses: [address(2, "192.0.2.100/24"), address(3, "2001:db8::100/64"), address(4, "203.0.113.100/24")],
  routes: [route("0.0.0.0/0")],
};
const NEAR = node("near", ["192.0.2.1"], ["10.244.1.0/24"]);
const FAR = node("far", ["198.51.100.1"], ["10.244.2.0/24"]);

interface Given {
  readonly via?: string;
  readonly ranges?: readonly string[];
  readonly kernel?: Partial<OutsideKernel>;
}

function waysTo(nodes: readonly ClusterNode[], { via, ranges = [], kernel = {} }: Given = {}) {
  const cluster = { nodes, via: via === undefined ? undefined : parseVia(via), serviceRanges: ranges.map(parseSubnet) };
  const { routes, problems } = outsideWays(cluster, { ...KERNEL, ...kernel });
  for (const { protocol } of routes) expect(protocol).toBe(RTPROT_WEFT);
  return { routes: routes.map((one) => `${describeRoute(one)} by ${one.outputIndex}`), problems };
}
const BY_NEAR = "via 192.0.2.1";

test("a node on one of the host's links gets a route via its own address", () => {
  const { routes, problems } = waysTo([NEAR]);
  expect(routes).toHaveLength(1);
  expect(routes[0]).toMatch(/^10\.244\.1\.0\/24 via 192\.0\.2\.1.* by 2$/);
  expect(problems).toEqual([]);
});

test("a node elsewhere gets a route via the forwarding node, given by name or address", () => {
  for (const via of ["near", "192.0.2.1"]) {
    const { routes, problems } = waysTo([NEAR, FAR], { via });
    expect(routes[1]).toContain(`10.244.2.0/24 ${BY_NEAR}`);
    expect(problems).toEqual([]);
  }
});

test("without a forwarding node, a node elsewhere is reported with a remedy, and the others get their routes", () => {
  const { routes, problems } = waysTo([FAR, NEAR]);
  expect(routes).toHaveLength(1);
  expect(problems).toEqual([
    "node far (198.51.100.1) is on none of this host's links: its pods in 10.244.2.0/24 are unreachable; set --via to a node that forwards to it",
  ]);
});

test.each([
  ["gone", "--via gone: there is no Node of that name"],
  ["far", /^--via far \(198\.51\.100\.1\) is on none of this host's links/],
  ["203.0.113.1", /^--via 203\.0\.113\.1 is on none of this host's links/],
])("reports a forwarding node %s that cannot be used", (via, message) => {
  expect(waysTo([FAR], { via }).problems[0]).toMatch(message);
});

test("IPv6 has routes of its own, and IPv4 uses an IPv6 gateway if the node has no other address", () => {
  const dual = node("dual", ["192.0.2.1", "2001:db8::1"], ["10.244.1.0/24", "fd00:1::/64"]);
  expect(waysTo([dual]).routes).toEqual([
    expect.stringMatching(/^10\.244\.1\.0\/24 via 192\.0\.2\.1.* by 2$/),
    expect.stringMatching(/^fd00:1::\/64 via 2001:db8::1.* by 3$/),
  ]);
  expect(waysTo([node("six", ["2001:db8::1"], ["10.244.1.0/24"])]).routes[0]).toContain("2001:db8::1");
  expect(waysTo([node("four", ["192.0.2.1"], ["fd00:1::/64"])]).problems).toHaveLength(1);
});

test("ClusterIPs get a route if the host has none for them, not even a default route", () => {
  const ranges = ["10.96.0.0/16", "fd00:96::/108"];
  expect(waysTo([NEAR], { ranges }).routes).toHaveLength(1);
  const bare = waysTo([NEAR], { ranges, kernel: { routes: [route("10.96.0.0/16", RTPROT_WEFT)] } });
  expect(bare.routes[1]).toContain(`10.96.0.0/16 ${BY_NEAR}`);
  expect(bare.routes).toHaveLength(2);
});

test("a family without an address on the host is ignored", () => {
  const dual = node("dual", ["192.0.2.1", "2001:db8::1"], ["10.244.1.0/24", "fd00:1::/64"]);
  const linkLocal = { ...address(2, "fe80::1/64"), scope: 253 };
  const only4 = waysTo([dual], { kernel: { addresses: [address(2, "192.0.2.100/24"), linkLocal] } });
  expect(only4.routes).toHaveLength(1);
  expect(only4.problems).toEqual([]);
});

test("a Node without subnets or addresses gets no route", () => {
  expect(waysTo([node("new", ["192.0.2.9"], [])])).toEqual({ routes: [], problems: [] });
  expect(waysTo([node("bare", [], ["10.244.9.0/24"])]).problems[0]).toContain("node bare (no address)");
});
