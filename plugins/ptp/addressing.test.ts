import { expect, test } from "vitest";
import type { Result } from "../../pkg/cni/result.ts";
import { formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import { describeRoute } from "../../pkg/kernel/route.ts";
import { planAddressing } from "./addressing.ts";

const ipam = (
  ips: readonly (readonly [address: string, gateway?: string])[],
  routes: Result["routes"] = [],
): Result => ({
  interfaces: [],
  ips: ips.map(([address, gateway]) => ({
    address: parsePrefix(address),
    ...(gateway === undefined ? {} : { gateway: parseAddress(gateway) }),
  })),
  routes,
  dns: {},
});

test("routes the gateway on the link, the subnet through the gateway, and the pod on the host", () => {
  const { ips, podRoutes, hostAddresses, podAddresses } = planAddressing(
    ipam(
      [
        ["10.22.0.7/24", "10.22.0.1"],
        ["fd00:22::7/64", "fd00:22::1"],
      ],
      [{ dst: parsePrefix("0.0.0.0/0") }],
    ),
  );
  expect(podRoutes.map(describeRoute)).toEqual([
    "10.22.0.1/32",
    "fd00:22::1/128",
    "10.22.0.0/24 via 10.22.0.1",
    "fd00:22::/64 via fd00:22::1",
    "default via 10.22.0.1",
  ]);
  expect(podRoutes.slice(0, 2).map(({ scope }) => scope)).toEqual([253, 253]);
  expect(hostAddresses.map(formatPrefix)).toEqual(["10.22.0.1/32", "fd00:22::1/128"]);
  expect(podAddresses.map(formatAddress)).toEqual(["10.22.0.7", "fd00:22::7"]);
  expect(ips.map(({ interface: at }) => at)).toEqual([1, 1]);
});

test("two addresses of one subnet share gateway and routes", () => {
  const { podRoutes, hostAddresses, podAddresses } = planAddressing(
    ipam([
      ["10.22.0.7/24", "10.22.0.1"],
      ["10.22.0.8/24", "10.22.0.1"],
    ]),
  );
  expect(podRoutes.map(describeRoute)).toEqual(["10.22.0.1/32", "10.22.0.0/24 via 10.22.0.1"]);
  expect([hostAddresses.length, podAddresses.length]).toEqual([1, 2]);
});

test("adds no route to a subnet of one address", () => {
  const { podRoutes } = planAddressing(ipam([["10.22.0.7/32", "169.254.1.1"]]));
  expect(podRoutes.map(describeRoute)).toEqual(["169.254.1.1/32"]);
});

test.each([
  [[], /expected at least one address/],
  [[["10.22.0.7/24"]], /ptp needs a gateway.*10\.22\.0\.7\/24.*first of 10\.22\.0\.0\/24/],
  [[["10.22.0.1/24", "10.22.0.1"]], /the address of its gateway/],
] as const)("rejects %j", (ips, message) => {
  expect(() => planAddressing(ipam(ips))).toThrow(
    expect.objectContaining({ code: 7, message: expect.stringMatching(message) }),
  );
});
