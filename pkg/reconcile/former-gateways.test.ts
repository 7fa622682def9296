import { expect, test } from "vitest";
import { RTPROT_WEFT } from "../footprint.ts";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { Link } from "../kernel/link.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST } from "../netlink/route.ts";
import { type FormerGateway, planFormerGateways } from "./former-gateways.ts";

const BRIDGE: Link = {
  ...{ index: 5, name: "cni0", mtu: 1450, mac: "0a:00:00:00:00:01", isUp: true, isPromiscuous: false },
  ...{ isAllMulticast: false, txQueueLength: 1000, isOperational: true, kind: "bridge", masterIndex: 0 },
  ...{ peerIndex: 0, alias: "", vxlan: undefined, bridge: undefined, port: undefined },
};

const address = (text: string, index = 5) => ({
  ...{ index, prefix: parsePrefix(text), scope: RT_SCOPE.universe, isTentative: false, isDuplicate: false },
});
const route = (text: string, more: object = {}) => ({
  ...{ destination: parsePrefix(text), outputIndex: 5, protocol: RTPROT_WEFT, table: RT_TABLE_MAIN },
  ...{ scope: RT_SCOPE.link, type: RTN_UNICAST, isMultipath: false, ...more },
});

function plan(
  gateway: string,
  held: FormerGateway["held"],
  on: readonly string[],
  { hosts = [] as string[], routes = [] as ReturnType<typeof route>[], current = [] as string[], isUp = true } = {},
) {
  const observed = {
    links: [BRIDGE],
    addresses: on.map((one) => address(one)),
    routes,
    neighbours: [],
    forwarding: [],
  };
  const retained = { gateways: [{ gateway: parsePrefix(gateway), held }], hosts: hosts.map(parseAddress) };
  const { requests, isComplete } = planFormerGateways(
    retained,
    current.map(parsePrefix),
    { ...BRIDGE, isUp },
    observed,
  );
  return { texts: requests.map(({ text }) => text), isComplete };
}

const add = (text: string) => `ip address add ${text} dev index 5`;
const del = (text: string) => `ip address del ${text} dev index 5`;
const done = { texts: [], isComplete: true };

test("plans nothing if the state is as wanted", () => {
  expect(plan("10.244.1.1/24", "subnet", ["10.244.1.1/24"])).toEqual(done);
  expect(plan("10.244.1.1/24", "single", ["10.244.1.1/32"])).toEqual(done);
  expect(plan("10.244.1.1/24", "none", [])).toEqual(done);
  expect(plan("10.244.1.1/24", "none", ["10.244.2.1/24", "10.244.1.7/24"])).toEqual(done);
});

test("removes the address if there are no pods, whatever its length", () => {
  expect(plan("10.244.1.1/24", "none", ["10.244.1.1/24"])).toEqual({
    texts: [del("10.244.1.1/24")],
    isComplete: false,
  });
  expect(plan("fd00:1::1/64", "none", ["fd00:1::1/128"])).toEqual({ texts: [del("fd00:1::1/128")], isComplete: false });
});

test("adds a removed gateway that pods use", () => {
  expect(plan("10.244.1.1/24", "subnet", []).texts).toEqual([add("10.244.1.1/24")]);
});

test.each([
  ["10.244.1.1/24", "10.244.1.1/32", [add("10.244.1.1/32"), del("10.244.1.1/24")]],
  // An IPv6 address exists only once on a link.
  ["fd00:1::1/64", "fd00:1::1/128", [del("fd00:1::1/64"), add("fd00:1::1/128")]],
])(
  "if another node has the subnet, adds the pods' routes, replaces %s by %s, and observes again",
  (gateway, _single, texts) => {
    const host = gateway.replace(/1\/\d+$/, "7");
    expect(plan(gateway, "single", [gateway], { hosts: [host] })).toEqual({
      texts: [expect.stringMatching(new RegExp(`^ip route add ${host}/\\d+ dev index 5 proto 119$`)), ...texts],
      isComplete: false,
    });
  },
);

test("removes a pod's route when the pod is gone, and only after the subnet's route is back", () => {
  const routes = [route("10.244.1.7/32"), route("10.244.1.8/32")];
  expect(plan("10.244.1.1/24", "single", ["10.244.1.1/32"], { hosts: ["10.244.1.8"], routes }).texts).toEqual([
    "ip route del 10.244.1.7/32 dev index 5 proto 119",
  ]);
  expect(plan("10.244.1.1/24", "subnet", ["10.244.1.1/32"], { routes }).texts.join()).not.toContain("route");
  expect(plan("10.244.1.1/24", "subnet", ["10.244.1.1/24"], { routes }).texts).toHaveLength(2);
});

test("does not change other programs' routes, or ours on other links", () => {
  const routes = [
    route("10.244.1.7/32", { protocol: 4 }),
    route("10.244.1.8/32", { outputIndex: 7 }),
    route("10.244.1.9/32", { table: 100 }),
    route("10.244.2.0/24", { gateway: parseAddress("10.244.2.0") }),
  ];
  expect(plan("10.244.1.1/24", "none", [], { routes })).toEqual(done);
  expect(plan("10.244.1.1/24", "single", ["10.244.1.1/32"], { hosts: ["10.244.1.7"], routes })).toEqual(done);
});

test("does not change a gateway of a current subnet with the same address", () => {
  const current = ["10.244.0.1/24"];
  expect(plan("10.244.0.1/23", "none", ["10.244.0.1/24"], { current })).toEqual(done);
  expect(plan("10.244.0.1/23", "none", ["10.244.0.1/24", "10.244.0.1/23"], { current }).texts).toEqual([
    del("10.244.0.1/23"),
  ]);
});

test("adds no route on a bridge that is down", () => {
  expect(plan("10.244.1.1/24", "single", ["10.244.1.1/32"], { hosts: ["10.244.1.7"], isUp: false })).toEqual(done);
});
