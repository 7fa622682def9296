import { expect, test } from "vitest";
import { podRoutes } from "../../pkg/attachment/routes.ts";
import type { Result, ResultRoute } from "../../pkg/cni/result.ts";
import { type Address, formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import { describeRoute } from "../../pkg/kernel/route.ts";
import { planAddressing } from "./addressing.ts";

const config = { isGateway: true, isDefaultGateway: true };

const ipam = (addresses: readonly string[], routes: readonly ResultRoute[] = [], gateway?: string): Result => ({
  interfaces: [],
  ips: addresses.map((text) => ({
    address: parsePrefix(text),
    ...(gateway === undefined ? {} : { gateway: parseAddress(gateway) }),
  })),
  routes,
  dns: {},
});

test("uses the network's first address with the network's length if IPAM returns no gateway", () => {
  const { ips, gateways } = planAddressing(ipam(["10.22.0.7/24", "fd00::7/64"]), config);
  expect(gateways.map(formatPrefix)).toEqual(["10.22.0.1/24", "fd00::1/64"]);
  expect(ips.map(({ interface: at }) => at)).toEqual([2, 2]);
});

test.each([
  ["10.22.0.5/32", "10.22.0.6/32"],
  ["fd00:22::5/128", "fd00:22::6/128"],
  ["10.22.0.0/31", "10.22.0.1/31"],
  ["fd00:22::/127", "fd00:22::1/127"],
  // The second of two addresses is the pod's own.
  ["10.22.0.1/31", "10.22.0.0/31"],
  ["fd00:22::1/127", "fd00:22::/127"],
])("computes for %s the gateway %s", (address, gateway) => {
  expect(planAddressing(ipam([address]), config).gateways.map(formatPrefix)).toEqual([gateway]);
});

test("adds no address and no default route if the bridge is not a gateway", () => {
  const plan = planAddressing(ipam(["10.22.0.7/24"]), { ...config, isGateway: false, isDefaultGateway: false });
  expect([plan.gateways, plan.routes]).toEqual([[], []]);
});

test("adds the gateway of two addresses of one network once", () => {
  expect(planAddressing(ipam(["10.22.0.7/24", "10.22.0.8/24"]), config).gateways.map(formatPrefix)).toEqual([
    "10.22.0.1/24",
  ]);
});

test("adds no default route if IPAM returns one", () => {
  const given = [{ dst: parsePrefix("0.0.0.0/0"), gw: parseAddress("10.22.0.9") }];
  expect(planAddressing(ipam(["10.22.0.7/24"], given), config).routes).toEqual(given);
});

test("routes without a gateway use their family's gateway, and routes of link scope use none", () => {
  const routes: ResultRoute[] = [
    { dst: parsePrefix("10.99.0.0/16") },
    { dst: parsePrefix("10.98.0.0/16"), gw: parseAddress("10.22.0.9"), mtu: 1300, priority: 5 },
    { dst: parsePrefix("10.97.0.0/16"), scope: 253 },
    { dst: parsePrefix("fd99::/64") },
  ];
  const { ips } = planAddressing(ipam(["10.22.0.7/24", "fd00::7/64"]), config);
  expect(podRoutes(routes, ips).map(describeRoute)).toEqual([
    "10.99.0.0/16 via 10.22.0.1",
    "10.98.0.0/16 via 10.22.0.9 metric 5 mtu 1300",
    "10.97.0.0/16",
    "fd99::/64 via fd00::1",
  ]);
});

test.each([
  ["10.9.0.5/32", "10.9.0.6/32"],
  ["fd00:9::5/128", "fd00:9::6/128"],
])("computes for the single address %s the next address as gateway", (address, gateway) => {
  const { ips, gateways } = planAddressing(ipam([address]), config);
  expect(gateways.map(formatPrefix)).toEqual([gateway]);
  expect(`${formatAddress(ips[0]?.gateway as Address)}/${gateways[0]?.length}`).toBe(gateway);
});

test("the last address of a family has no gateway", () => {
  expect(planAddressing(ipam(["255.255.255.255/32"]), config).gateways).toEqual([]);
});

test("rejects a result without addresses", () => {
  expect(() => planAddressing(ipam([]), config)).toThrow(/at least one address/);
});

test("rejects a pod address that is the gateway's", () => {
  expect(() => planAddressing(ipam(["10.22.0.1/24"], [], "10.22.0.1"), config)).toThrow(/the address of its gateway/);
});
