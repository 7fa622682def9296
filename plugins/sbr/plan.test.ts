import { expect, test } from "vitest";
import { ConfigObject } from "../../pkg/cni/config.ts";
import { EMPTY_RESULT, type ResultAddress } from "../../pkg/cni/result.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import { describeRoute, type ObservedRoute } from "../../pkg/kernel/route.ts";
import { describeRule, type ObservedRule } from "../../pkg/kernel/rule.ts";
import { parseSbrConfig } from "./config.ts";
import { addressesOf, planSbr } from "./plan.ts";

const INDEX = 2;

const ip = (address: string, gateway?: string): ResultAddress => ({
  address: parsePrefix(address),
  ...(gateway === undefined ? {} : { gateway: parseAddress(gateway) }),
});

function route(
  destination: string,
  more: { via?: string; from?: string; metric?: number; table?: number; dev?: number } = {},
) {
  const { via, from, metric, table = 254, dev = INDEX } = more;
  return {
    ...{ destination: parsePrefix(destination), outputIndex: dev, table, priority: metric },
    ...{ gateway: via === undefined ? undefined : parseAddress(via), scope: via === undefined ? 253 : 0 },
    preferredSource: from === undefined ? undefined : parseAddress(from),
    ...{ type: 1, isMultipath: false },
  } as unknown as ObservedRoute;
}

/** Returns the plan in the notation of iproute2. */
function plan(
  values: Record<string, unknown>,
  ips: readonly ResultAddress[],
  routes: readonly ObservedRoute[],
  rules: readonly ObservedRule[] = [],
) {
  const config = parseSbrConfig(new ConfigObject(values));
  const { rules: added, ...changes } = planSbr(config, ips, INDEX, { rules, routes });
  const words = (list: readonly ObservedRoute[] | readonly Parameters<typeof describeRoute>[0][]) =>
    list.map((one) => describeRoute({ ...one, protocol: undefined, outputIndex: undefined }));
  const { added: routesAdded, removed, hints } = changes;
  return { rules: added.map(describeRule), added: words(routesAdded), removed: words(removed), hints: words(hints) };
}

const MAIN = [
  route("0.0.0.0/0", { via: "10.9.0.1" }),
  route("10.9.0.0/24", { from: "10.9.0.2" }),
  route("10.77.0.0/16", { via: "10.9.0.9", metric: 5 }),
  route("fd00:9::/64", { metric: 256 }),
  route("fe80::/64", { metric: 256 }),
  route("10.50.0.0/24", { dev: 3 }),
];

test("adds a rule and a table with the interface's routes, and removes them from the main table", () => {
  expect(plan({}, [ip("10.9.0.2/24", "10.9.0.1")], MAIN)).toEqual({
    rules: ["from 10.9.0.2 table 100"],
    added: ["10.9.0.0/24 table 100", "default via 10.9.0.1 table 100", "10.77.0.0/16 via 10.9.0.9 metric 5 table 100"],
    // Gateways come first; link-local addresses keep their network.
    removed: [
      ...["10.77.0.0/16 via 10.9.0.9 metric 5", "default via 10.9.0.1"],
      ...["fd00:9::/64 metric 256", "10.9.0.0/24"],
    ],
    hints: [],
  });
});

test("adds a default route if the main table has none", () => {
  const { added } = plan({}, [ip("10.9.0.2/24", "10.9.0.1")], [MAIN[1] as ObservedRoute]);
  expect(added).toEqual(["10.9.0.0/24 table 100", "default via 10.9.0.1 table 100"]);
});

test("gives each address its own table, with the routes for it", () => {
  const routes = [...MAIN, route("10.9.1.0/24", { from: "10.9.1.2" }), route("10.80.0.0/16")];
  const ips = [ip("10.9.0.2/24", "10.9.0.1"), ip("10.9.1.2/24"), ip("fd00:9::2/64", "fd00:9::1")];
  expect(plan({}, ips, routes)).toMatchObject({
    rules: ["from 10.9.0.2 table 100", "from 10.9.1.2 table 101", "from fd00:9::2 table 102"],
    added: [
      ...["10.9.0.0/24 table 100", "10.80.0.0/16 table 100", "default via 10.9.0.1 table 100"],
      ...["10.77.0.0/16 via 10.9.0.9 metric 5 table 100", "10.9.1.0/24 table 101", "10.80.0.0/16 table 101"],
      ...["fd00:9::/64 metric 256 table 102", "fe80::/64 metric 256 table 102", "-6 default via fd00:9::1 table 102"],
    ],
  });
});

test("skips tables that a rule or a route uses, and the kernel's tables 253 to 255", () => {
  const rules = [{ source: undefined, table: 100, priority: 1 }];
  const routes = [route("10.1.0.0/16", { table: 101 })];
  expect(plan({}, [ip("10.9.0.2/24"), ip("10.9.1.2/24")], routes, rules).rules).toEqual([
    "from 10.9.0.2 table 102",
    "from 10.9.1.2 table 103",
  ]);
  const full = Array.from({ length: 153 }, (_, at) => ({ source: undefined, table: 100 + at, priority: 1 }));
  expect(plan({}, [ip("10.9.0.2/24")], [], full).rules).toEqual(["from 10.9.0.2 table 256"]);
});

test("adds only rules if a table is configured", () => {
  expect(plan({ table: 300 }, [ip("10.9.0.2/24", "10.9.0.1"), ip("fd00:9::2/64")], MAIN)).toEqual({
    rules: ["from 10.9.0.2 table 300", "from fd00:9::2 table 300"],
    ...{ added: [], removed: [], hints: [] },
  });
});

test("configured gateways replace those of the main table and the result, by family", () => {
  const values = { gateways: ["10.9.0.254", "fd00:9::fe"] };
  const ips = [ip("10.9.0.2/24", "10.9.0.1"), ip("fd00:9::2/64", "fd00:9::1")];
  const { added } = plan(values, ips, MAIN);
  expect(added.filter((text) => text.includes("default"))).toEqual([
    "default via 10.9.0.254 table 100",
    "-6 default via fd00:9::fe table 101",
  ]);
});

test("with source hints, the main table keeps the networks with addresses to send from", () => {
  const ips = [ip("10.9.0.2/24", "10.9.0.1"), ip("fd00:9::2/64")];
  const { removed, hints } = plan({ addSourceHints: true }, ips, MAIN);
  expect(removed).toEqual(["10.77.0.0/16 via 10.9.0.9 metric 5", "default via 10.9.0.1"]);
  // The kernel has set the source of 10.9.0.0/24 already.
  expect(hints).toEqual(["fd00:9::/64 metric 256"]);
});

test.each([
  [{ table: 0 }, /table: expected an integer from 1 to 4294967295, got 0/],
  [{ table: "main" }, /table: expected an integer/],
  [{ gateways: ["10.0.0.1", "10.0.0.2"] }, /gateways: expected at most one of each family, got 10.0.0.1 and 10.0.0.2/],
  [{ gateways: ["10.0.0"] }, /gateways\[0\]/],
  [{ addSourceHints: "yes" }, /addSourceHints: expected true or false/],
  [{ table: 300, gateways: ["10.0.0.1"] }, /gateways: cannot be combined with table/],
  [{ table: 300, addSourceHints: true }, /addSourceHints: cannot be combined with table/],
])("rejects %j", (values, message) => {
  expect(() => parseSbrConfig(new ConfigObject(values))).toThrow(message);
});

test("uses addresses of the interface and of no interface, and ignores those of other interfaces", () => {
  const ips = [
    { ...ip("10.9.0.2/24"), interface: 1 },
    { ...ip("10.9.1.2/24"), interface: 0 },
    ip("10.9.2.2/24"),
    { ...ip("10.9.3.2/24"), interface: 7 },
  ];
  const result = { ...EMPTY_RESULT, interfaces: [{ name: "veth0" }, { name: "eth0" }], ips };
  expect(addressesOf(result, "eth0")).toEqual([ips[0], ips[2], ips[3]]);
});
