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

test("a gateway that IPAM did not name is the network's first address, with the network's length on the bridge", () => {
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
])("the gateway of %s is %s", (address, gateway) => {
  expect(planAddressing(ipam([address]), config).gateways.map(formatPrefix)).toEqual([gateway]);
});

test("a bridge that is no gateway gets no address and pods no default route", () => {
  const plan = planAddressing(ipam(["10.22.0.7/24"]), { ...config, isGateway: false, isDefaultGateway: false });
  expect([plan.gateways, plan.routes]).toEqual([[], []]);
});

test("two addresses of one network need its gateway once", () => {
  expect(planAddressing(ipam(["10.22.0.7/24", "10.22.0.8/24"]), config).gateways.map(formatPrefix)).toEqual([
    "10.22.0.1/24",
  ]);
});

test("a default route of IPAM's own is not given twice", () => {
  const given = [{ dst: parsePrefix("0.0.0.0/0"), gw: parseAddress("10.22.0.9") }];
  expect(planAddressing(ipam(["10.22.0.7/24"], given), config).routes).toEqual(given);
});

test("routes without a gateway go by their family's, those of link scope by none", () => {
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
])("the gateway of the single address %s is the next one", (address, gateway) => {
  const { ips, gateways } = planAddressing(ipam([address]), config);
  expect(gateways.map(formatPrefix)).toEqual([gateway]);
  expect(`${formatAddress(ips[0]?.gateway as Address)}/${gateways[0]?.length}`).toBe(gateway);
});

test("the last address of all has no next one: no gateway", () => {
  expect(planAddressing(ipam(["255.255.255.255/32"]), config).gateways).toEqual([]);
});

test("an answer without addresses is refused", () => {
  expect(() => planAddressing(ipam([]), config)).toThrow(/at least one address/);
});

test("a pod that was given its gateway's address is refused", () => {
  expect(() => planAddressing(ipam(["10.22.0.1/24"], [], "10.22.0.1"), config)).toThrow(/the address of its gateway/);
});
