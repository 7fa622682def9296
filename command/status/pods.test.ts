import { expect, test } from "vitest";
import type { Link } from "../../pkg/kernel/link.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { attachmentOf } from "../node/networks.ts";
import { countPods, podsText } from "./pods.ts";

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mtu: 1500, mac: "", isUp: true, isPromiscuous: false, isAllMulticast: false, txQueueLength: 0 },
  ...{
    isOperational: true,
    kind: "veth",
    masterIndex: 0,
    peerIndex: 0,
    alias: "",
    vxlan: undefined,
    bridge: undefined,
  },
  ...{ port: undefined, ...more },
});
const mark = (containerId: string, network = "cbr0") => ownerMark({ network, containerId, ifName: "eth0" });
const observed = (...links: Link[]): KernelSnapshot => ({
  ...{ links, addresses: [], routes: [], neighbours: [], forwarding: [] },
});
const BRIDGE = link(3, "cni0", { kind: "bridge" });
const textOf = (...links: Link[]) => podsText(countPods(attachmentOf(undefined), observed(...links)));

test("counts pods on the bridge that flannel's plugins attached", () => {
  const ports = [4, 5, 6].map((index) => link(index, `veth${index}`, { masterIndex: 3 }));
  const own = link(7, "veth7", { masterIndex: 3, alias: mark("a") });
  expect(countPods(attachmentOf(undefined), observed(BRIDGE, ...ports, own))).toEqual({
    ...{ count: 4, network: "cbr0", bridge: "cni0", onBridge: 4, byOthers: 3 },
  });
  expect(textOf(BRIDGE, ...ports, own)).toBe("4 on cni0 (3 of them attached by other plugins); network cbr0");
});

test("ignores pods of other networks, and ports of other bridges", () => {
  const other = link(4, "veth4", { masterIndex: 3, alias: mark("b", "other") });
  expect(textOf(BRIDGE, other, link(5, "veth5", { masterIndex: 9 }))).toBe("0 on cni0; network cbr0");
});
