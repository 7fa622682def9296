import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix, parseSubnet } from "../../pkg/ip/prefix.ts";
import type { Observed } from "../../pkg/kernel/data-path.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { ruleText } from "../../pkg/kernel/nft/table.ts";
import type { PodBridge } from "../../pkg/kernel/pod-bridge.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { Attempts } from "../attempts.ts";
import { Contention } from "./contention.ts";
import type { FirewallWishes } from "./firewall.ts";
import { Keeper, type KeeperParts, type NodeState } from "./keeper.ts";
import type { Gate } from "./programmer.ts";

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mtu: 1450, mac: `02:00:00:00:00:0${index}`, isUp: true, isPromiscuous: false },
  ...{ isAllMulticast: false, txQueueLength: 1000, isOperational: true, kind: "veth", masterIndex: 0 },
  ...{ peerIndex: 2, alias: "", vxlan: undefined, bridge: undefined, port: undefined },
  ...more,
});
const UNDERLAY = link(2, "eth0", { kind: "" });
const BRIDGE = link(5, "cni0", { kind: "bridge" });
const PORT = link(7, "veth7", { alias: "cni:cbr0/c7/eth0", masterIndex: 5 });

const nothing: Observed = { links: [UNDERLAY], addresses: [], routes: [], neighbours: [], forwarding: [] };

const vtep = {
  ...{ name: "flannel.1", vni: 1, port: 8472, local: parseAddress("192.0.2.1"), underlayIndex: 2 },
  ...{ mac: "0a:00:00:00:00:01", mtu: 1450, addresses: [] },
};

function stateOf(observed: Observed): NodeState {
  const subnets = [parseSubnet("10.244.1.0/24")];
  const underlay = { index: 2, mtu: 1500, local: {}, networks: [] };
  return {
    ...{ observed, underlay: UNDERLAY, network: "cbr0", bridge: "cni0", hairpin: true },
    ...{ networks: [parseSubnet("10.244.0.0/16"), parseSubnet("fd00::/48")], senders: [parseAddress("192.0.2.2")] },
    node: { name: "n1", subnets, underlay },
    desired: {
      ...{ podMtu: 1450, unmasqueraded: [], vtepMacs: {}, problems: [], isAsymmetric: false },
      dataPath: { vteps: [vtep], routes: [], neighbours: [], forwarding: [] },
    },
  };
}

function bench(options: Partial<KeeperParts["options"]> = {}) {
  const files = new FakeFiles();
  const settings = { "net/ipv4": "ip_forward", "net/bridge": "bridge-nf-call-iptables" };
  for (const [folder, name] of Object.entries(settings)) {
    files.makeDirectory(`/proc/sys/${folder}`);
    files.writeFile(`/proc/sys/${folder}/${name}`, new TextEncoder().encode("0\n"));
  }
  const repaired: string[] = [];
  const plugged: { wanted: PodBridge; gate: Gate | undefined }[] = [];
  const firewalled: FirewallWishes[] = [];
  const contention = new Contention(new ManualClock(), {
    onRepair: (object) => repaired.push(object),
    onContention: () => undefined,
  });
  const keeper = new Keeper({
    options: { attach: "bridge", nonMasqueradeCidrs: [], vxlanFrom: "nodes", ...options },
    programmer: {
      plugPods: async (wanted, observed, gate) => {
        plugged.push({ wanted, gate });
        return { requests: [], refusals: [], conflicts: [], state: observed };
      },
    },
    firewall: {
      keep: async (wishes) => {
        firewalled.push(wishes);
        return [];
      },
    },
    legacyForward: { ensure: async () => [] },
    contention,
    files,
  });
  const keep = async (observed: Observed) => {
    const attempts = new Attempts();
    const kept = await keeper.keep(stateOf(observed), attempts);
    attempts.end();
    return kept;
  };
  return { keeper, keep, files, repaired, plugged, firewalled };
}

test("what is right from the first pass on, and changed later, is a repair; what the first pass sets is none", async () => {
  const { keep, files, repaired } = bench();
  const both = ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"];
  expect((await keep(nothing)).settings).toEqual(both);
  expect(repaired).toEqual([]);
  files.writeFile("/proc/sys/net/ipv4/ip_forward", new TextEncoder().encode("0\n"));
  expect((await keep(nothing)).settings).toEqual(both.slice(0, 1));
  expect(repaired).toEqual(both.slice(0, 1));
});

test("requests are repairs where nothing else was wanted before", () => {
  const { keeper, repaired } = bench();
  const dataPath = () => ({ vteps: [vtep], routes: [], neighbours: [], forwarding: [] });
  expect(keeper.gate(dataPath()).mayPutBack("ip link add flannel.1")).toBe(true);
  keeper.programmed(dataPath());
  keeper.gate({ ...dataPath(), vteps: [] }).mayPutBack("ip link del flannel.1");
  expect(repaired).toEqual([]);
  keeper.gate(dataPath()).mayPutBack("ip link add flannel.1");
  expect(repaired).toEqual(["ip link add flannel.1"]);
});

test("the bridge keeps the hardware address that it had when its pods came, also where it is gone", async () => {
  const { keep, plugged } = bench();
  const withPod = { ...nothing, links: [UNDERLAY, BRIDGE, PORT] };
  await keep(withPod);
  await keep({ ...nothing, links: [UNDERLAY, { ...BRIDGE, mac: "02:00:00:00:00:99" }, PORT] });
  await keep({ ...nothing, links: [UNDERLAY, { ...PORT, masterIndex: 0 }] });
  expect(plugged.map(({ wanted }) => wanted.mac)).toEqual([BRIDGE.mac, BRIDGE.mac, BRIDGE.mac]);
  expect(plugged[0]?.wanted).toMatchObject({
    ...{ name: "cni0", network: "cbr0", gateways: [parsePrefix("10.244.1.1/24")], mtu: 1450, hairpin: true },
  });
  // The first pod's bridge is in the making: what is missing was never there.
  expect(plugged.map(({ gate }) => gate !== undefined)).toEqual([false, true, true]);
  await keep(nothing);
  await keep({ ...nothing, links: [UNDERLAY, { ...BRIDGE, mac: "02:00:00:00:00:77" }, PORT] });
  expect(plugged.at(-1)?.wanted.mac).toBe("02:00:00:00:00:77");
});

test("the rules are about the families that the node has, and its VTEPs", async () => {
  const { keep, firewalled } = bench({ nonMasqueradeCidrs: [parseSubnet("192.0.2.0/24")] });
  await keep(nothing);
  const [{ table, ranges } = { table: undefined, ranges: [] }] = firewalled;
  expect(ranges).toEqual([parseSubnet("10.244.0.0/16")]);
  expect(table?.chains.find(({ hook }) => hook === "input")?.rules.map(ruleText)).toEqual([
    expect.stringContaining("th dport 8472 @th,96,24 1 ip saddr != @vxlan-senders4"),
  ]);
  expect(table?.sets.find(({ name }) => name === "non-masquerade4")?.elements).toEqual([parseSubnet("192.0.2.0/24")]);
});

test("VXLAN packets from anybody, and pods without a bridge, are the operator's choice", async () => {
  const { keep, files, firewalled, plugged } = bench({ vxlanFrom: "anybody", attach: "ptp" });
  const { bridge } = await keep({ ...nothing, links: [UNDERLAY, BRIDGE, PORT] });
  expect(firewalled[0]?.table.chains.map(({ name }) => name)).toEqual(["postrouting"]);
  expect([bridge, plugged]).toEqual([undefined, []]);
  expect(files.snapshot()["/proc/sys/net/bridge/bridge-nf-call-iptables"]).toBe("0\n");
});
