import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { parseSubnet } from "../ip/prefix.ts";
import { type NodePortSelection, nodePortAddresses, PRIMARY_ONLY } from "./node-port-addresses.ts";

const NOTHING: NodePortSelection = { ...PRIMARY_ONLY, hasPrimary: false };
const addresses = (...texts: string[]) => texts.map(parseAddress);
const ranges = (...texts: string[]) => texts.map(parseSubnet);

const NODE = {
  internal: addresses("192.0.2.1", "192.0.2.9", "2001:db8::1"),
  local: addresses(
    ...["127.0.0.1", "127.8.8.8", "192.0.2.1", "203.0.113.7", "10.244.1.1"],
    ...["::1", "2001:db8::1", "2001:db8:f::7", "fe80::1"],
  ),
  isLoopbackGuarded: true,
};

test.each<[string, Partial<NodePortSelection>, string[]]>([
  ["primary: the first InternalIP of each family", { hasPrimary: true }, ["192.0.2.1", "2001:db8::1"]],
  [
    "all: neither loopback nor link-local",
    { hasAll: true },
    ["10.244.1.1", "192.0.2.1", "203.0.113.7", "2001:db8::1", "2001:db8:f::7"],
  ],
  ["a range of IPv4: none of IPv6", { ranges: ranges("203.0.113.0/24") }, ["203.0.113.7"]],
  ["a range of IPv6: none of IPv4", { ranges: ranges("2001:db8:f::/48") }, ["2001:db8:f::7"]],
  ["everything by range: no loopback", { ranges: ranges("127.0.0.0/8") }, []],
  ["link-local addresses by range", { ranges: ranges("fe80::/10") }, ["fe80::1"]],
  ["localhost: 127.0.0.1 only", { hasLocalhost: true }, ["127.0.0.1"]],
  [
    "several together",
    { hasPrimary: true, hasLocalhost: true, ranges: ranges("192.0.2.0/24") },
    ["127.0.0.1", "192.0.2.1", "2001:db8::1"],
  ],
  ["nothing", {}, []],
])("%s", (_what, selection, expected) => {
  expect(nodePortAddresses({ ...NOTHING, ...selection }, NODE).map(formatAddress)).toEqual(expected);
});

test("excludes 127.0.0.1 until the guard is programmed", () => {
  const unguarded = { ...NODE, isLoopbackGuarded: false };
  expect(nodePortAddresses({ ...NOTHING, hasLocalhost: true }, unguarded)).toEqual([]);
});

test("includes a primary address that no link has: the node may be behind a NAT", () => {
  expect(nodePortAddresses(PRIMARY_ONLY, { ...NODE, local: [] }).map(formatAddress)).toEqual([
    "192.0.2.1",
    "2001:db8::1",
  ]);
});
