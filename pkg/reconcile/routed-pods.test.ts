import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { LinkAddress } from "../kernel/address.ts";
import type { Link } from "../kernel/link.ts";
import type { ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST, RTPROT_KERNEL } from "../netlink/route.ts";
import { completePods, hostEndNames, hostRoute, planRoutedPods, type RoutedPod } from "./routed-pods.ts";

const MARK = "cni:cbr0/c7/eth0";
const END = 7;
const gateways = [parseAddress("10.244.1.1"), parseAddress("fd00:1::1")];
const podAddresses = [parseAddress("10.244.1.7"), parseAddress("fd00:1::7")];
const wanted: RoutedPod[] = [{ mark: MARK, gateways, podAddresses }];

const end: Link = {
  ...{ index: END, name: "veth7", mtu: 1450, mac: "02:00:00:00:00:07", isUp: true, isPromiscuous: false },
  ...{ isAllMulticast: false, txQueueLength: 1000, isOperational: true, kind: "veth", masterIndex: 0 },
  ...{ peerIndex: 2, alias: MARK, vxlan: undefined, bridge: undefined, port: undefined },
};
const address = (text: string): LinkAddress => ({
  ...{ index: END, prefix: parsePrefix(text), scope: RT_SCOPE.universe, isTentative: false, isDuplicate: false },
});
const routes = podAddresses.map(
  (pod): ObservedRoute => ({
    ...{ ...hostRoute(pod, END), protocol: 3, table: RT_TABLE_MAIN, type: RTN_UNICAST, isMultipath: false },
  }),
);
/** The kernel's own route to the address. */
const kernels: ObservedRoute = {
  ...{ destination: parsePrefix("fd00:1::1/128"), outputIndex: END, protocol: RTPROT_KERNEL, table: RT_TABLE_MAIN },
  ...{ scope: RT_SCOPE.universe, type: RTN_UNICAST, isMultipath: false },
};
const healthy: KernelSnapshot = {
  links: [end],
  addresses: [address("10.244.1.1/32"), address("fd00:1::1/128")],
  routes: [...routes, kernels],
  neighbours: [],
  forwarding: [],
};
const plan = (changes: Partial<KernelSnapshot>, whole = new Set([MARK])) => {
  const { requests, isComplete } = planRoutedPods(wanted, whole, { ...healthy, ...changes });
  return { texts: requests.map(({ text }) => text), isComplete };
};

test("plans nothing if the link is as wanted", () => {
  expect(plan({})).toEqual({ texts: [], isComplete: true });
});

test("adds missing addresses and routes of both families", () => {
  expect(plan({ routes: [...routes.slice(0, 1), kernels], addresses: healthy.addresses.slice(1) }).texts).toEqual([
    "ip address add 10.244.1.1/32 dev index 7",
    "ip route add fd00:1::7/128 dev index 7",
  ]);
});

test("ignores a route to the pod through another link", () => {
  const elsewhere = routes.map((route) => ({ ...route, outputIndex: 3 }));
  expect(plan({ routes: [...elsewhere, kernels] }).texts).toHaveLength(2);
});

test("adds the kernel's route to an address if only the route was removed", () => {
  expect(plan({ routes }).texts).toEqual(["ip route add fd00:1::1/128 dev index 7 proto 2 metric 256"]);
  expect(plan({ routes, addresses: healthy.addresses.slice(0, 1) }).texts).toEqual([
    "ip address add fd00:1::1/128 dev index 7",
  ]);
});

test("sets a link up first, and then observes what it has lost", () => {
  expect(plan({ links: [{ ...end, isUp: false }], routes: [] })).toEqual({
    texts: ["ip link set index 7 up"],
    isComplete: false,
  });
});

test("detaches a link from a bridge first", () => {
  expect(plan({ links: [{ ...end, masterIndex: 5 }], routes: [] })).toEqual({
    texts: ["ip link set index 7 nomaster up"],
    isComplete: false,
  });
});

test.each<[string, Partial<KernelSnapshot>, ReadonlySet<string>, readonly string[]]>([
  ["one with addresses", {}, new Set(), [MARK]],
  ["one of an unfinished ADD", { addresses: [] }, new Set(), []],
  ["one that was complete before", { addresses: [] }, new Set([MARK]), [MARK]],
  ["one whose pod is gone", { links: [] }, new Set([MARK]), []],
  ["a bridge's port", { links: [{ ...end, masterIndex: 5 }], addresses: [], routes: [] }, new Set([MARK]), []],
  ["a bridge's port with an address", { links: [{ ...end, masterIndex: 5 }], routes: [] }, new Set([MARK]), []],
  ["one that another program attached to a bridge", { links: [{ ...end, masterIndex: 5 }] }, new Set(), [MARK]],
  ["another program's", { links: [{ ...end, alias: "" }] }, new Set(), []],
])("complete: %s", (_name, changes, before, expected) => {
  expect([...completePods(before, { ...healthy, ...changes })]).toEqual(expected);
});

test("does not change a link of an unfinished ADD", () => {
  expect(plan({ routes: [], addresses: [] }, new Set()).texts).toEqual([]);
});

test("recognises host ends by mark, bridged or not, and not the ifb devices with the same mark", () => {
  const links = [
    end,
    { ...end, name: "veth8", alias: "cni:cbr0/c8/eth0", masterIndex: 3 },
    { ...end, name: "veth9", alias: "" },
    { ...end, name: "bwp0123", kind: "ifb" },
  ];
  expect([...hostEndNames(links)]).toEqual([
    [MARK, "veth7"],
    ["cni:cbr0/c8/eth0", "veth8"],
  ]);
});
