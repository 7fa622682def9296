import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { LinkAddress } from "../kernel/address.ts";
import type { Link } from "../kernel/link.ts";
import type { ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTN_UNICAST, RTPROT_KERNEL } from "../netlink/route.ts";
import { type AttachPlugin, NO_ENDS, type PodEnds, podEnds } from "./pod-ends.ts";
import { hostRoute } from "./routed-pods.ts";

const MARK = "cni:cbr0/c7/eth0";
const PORT: PodEnds = { ports: new Set([MARK]), routed: new Set() };
const ROUTED: PodEnds = { ports: new Set(), routed: new Set([MARK]) };

const end = (more: Partial<Link> = {}): Link => ({
  ...{ index: 7, name: "veth7", mtu: 1450, mac: "02:00:00:00:00:07", isUp: true, isPromiscuous: false },
  ...{ isAllMulticast: false, txQueueLength: 1000, isOperational: true, kind: "veth", masterIndex: 0 },
  ...{ peerIndex: 2, alias: MARK, vxlan: undefined, bridge: undefined, port: undefined },
  ...more,
});
const address: LinkAddress = {
  ...{ index: 7, prefix: parsePrefix("10.244.1.1/32"), scope: RT_SCOPE.universe },
  ...{ isTentative: false, isDuplicate: false },
};
const route: ObservedRoute = {
  ...{ ...hostRoute(parseAddress("10.244.1.7"), 7), protocol: 3, table: RT_TABLE_MAIN, type: RTN_UNICAST },
  isMultipath: false,
};
const held: KernelSnapshot = { links: [end()], addresses: [], routes: [], neighbours: [], forwarding: [] };

test.each<[string, AttachPlugin, Partial<KernelSnapshot>, PodEnds, PodEnds]>([
  ["on a bridge", "ptp", { links: [end({ masterIndex: 5 })] }, NO_ENDS, PORT],
  ["with an address", "bridge", { addresses: [address] }, NO_ENDS, ROUTED],
  ["with a route to its pod", "bridge", { routes: [route] }, NO_ENDS, ROUTED],
  [
    "with an address, on a bridge by mistake",
    "bridge",
    { links: [end({ masterIndex: 5 })], addresses: [address] },
    PORT,
    ROUTED,
  ],
  ["with only the kernel's route", "ptp", { routes: [{ ...route, protocol: RTPROT_KERNEL }] }, NO_ENDS, NO_ENDS],
  ["that lost its bridge", "ptp", {}, PORT, PORT],
  ["that lost its bridge before weftd started", "bridge", {}, NO_ENDS, PORT],
  ["that lost its address and its route", "bridge", {}, ROUTED, ROUTED],
  ["of an unfinished ADD", "ptp", {}, NO_ENDS, NO_ENDS],
  ["whose pod is gone", "ptp", { links: [] }, PORT, NO_ENDS],
  ["of another network", "bridge", { links: [end({ alias: "cni:other/c7/eth0", masterIndex: 5 })] }, NO_ENDS, NO_ENDS],
])("an end %s, if new pods are attached by %s", (_name, plugin, change, before, expected) => {
  expect(podEnds("cbr0", plugin, { ...held, ...change }, before)).toEqual(expected);
});
