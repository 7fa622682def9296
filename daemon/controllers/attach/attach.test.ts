import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import { createBridge, type Link } from "../../../pkg/kernel/link.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import { ruleText } from "../../../pkg/nft/table.ts";
import { requestStep } from "../../../pkg/reconcile/plan-step.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { runnable } from "../../core/controller-pass.ts";
import { Drivers } from "../../core/drivers/drivers.ts";
import type { Logger } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Facts, Topic } from "../../core/topic.ts";
import { NODE_CHOICE, type NodeChoice, PEER_ADDRESSES, PODS_SEEN } from "../facts.ts";
import type { DesiredFirewall } from "../node-rules/firewall.ts";
import { FirewallController, type FirewallControllerParts } from "../node-rules/firewall-controller.ts";
import { NodeRulesController } from "../node-rules/node-rules.ts";
import { AttachController, type AttachParts, type SeenPods, type WantedPods } from "./attach.ts";

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mtu: 1450, mac: `02:00:00:00:00:0${index}`, isUp: true, isPromiscuous: false },
  ...{ isAllMulticast: false, txQueueLength: 1000, isOperational: true, kind: "veth", masterIndex: 0 },
  ...{ peerIndex: 2, alias: "", vxlan: undefined, bridge: undefined, port: undefined },
  ...more,
});
const UNDERLAY = link(2, "eth0", { kind: "" });
const BRIDGE = link(5, "cni0", { kind: "bridge" });
const PORT = link(7, "veth7", { alias: "cni:cbr0/c7/eth0", masterIndex: 5 });

const FOLDER = "/var/lib/cni/networks/cbr0";

const nothing: KernelSnapshot = { links: [UNDERLAY], addresses: [], routes: [], neighbours: [], forwarding: [] };

function choiceOf(former: readonly string[] = []): NodeChoice {
  const subnets = [parseSubnet("10.244.1.0/24")];
  const underlay = { index: 2, mtu: 1500, local: {}, networks: [] };
  return {
    ...{ underlayName: UNDERLAY.name, executable: "vxlan", podMtu: 1450, devices: ["flannel.1"] },
    ...{ networks: [parseSubnet("10.244.0.0/16"), parseSubnet("fd00::/48")] },
    tunnels: [{ family: 4, port: 8472, vni: 1 }],
    node: { name: "n1", subnets, underlay },
    takenSubnets: [],
    former: former.map(parseSubnet),
  };
}

type BenchOptions = Partial<AttachParts["options"] & FirewallControllerParts["options"]>;

/** Runs the controllers that pods of this node need: `attach`, `node-rules` and `firewall`, one pass each. */
function bench(options: BenchOptions = {}) {
  const files = new FakeFiles();
  const settings = { "net/ipv4": "ip_forward", "net/bridge": "bridge-nf-call-iptables" };
  for (const [folder, name] of Object.entries(settings)) {
    files.makeDirectory(`/proc/sys/${folder}`);
    files.writeFile(`/proc/sys/${folder}/${name}`, new TextEncoder().encode("0\n"));
  }
  const repaired: string[] = [];
  const attached: { texts: readonly string[]; gate: object | undefined }[] = [];
  const answered: { index: number; family: number; addresses: readonly string[] }[] = [];
  const watched = new Map<string, readonly string[]>();
  const firewalled: DesiredFirewall[] = [];
  const contention = new RepairGate(new ManualClock(), {
    onRepair: (_object, text) => repaired.push(text()),
    onContention: () => undefined,
  });
  let changed: string[] = [];
  const log = {
    info: (line: { settings?: readonly string[] }) => changed.push(...(line.settings ?? [])),
    debug: () => undefined,
  } as unknown as Logger;
  const facts = new Facts();
  const health = { holds: () => undefined, fails: () => undefined, warns: () => undefined };
  const drivers = new Drivers({
    kernel: { send: async () => [], commit: async () => undefined },
    settings: files,
    processes: { keep: async () => ({ done: [], failures: [] }) },
  });
  /** Devices exist as soon as they are requested. */
  class PlayedAttach extends AttachController {
    override plan(...[wanted, seen]: Parameters<AttachController["plan"]>) {
      for (const { steps } of this.planParts(wanted, seen)) {
        const isGated = steps.some(({ isRepair }) => isRepair === true);
        attached.push({ texts: steps.map(({ text }) => text), gate: isGated ? contention : undefined });
      }
      return { ...super.plan(wanted, seen), isComplete: true };
    }
  }
  const folder = { predecessor: undefined, superseded: [], foreignFirst: [], problems: [] };
  const common = { facts, files, health, log, settingChange: new Topic("setting") };
  const attach = new PlayedAttach({
    ...common,
    options: { attach: "bridge", runDir: "/run/weft", guardSenders: true, ...options },
    programmer: {
      answerFor: async (index, family, addresses) => {
        answered.push({ index, family, addresses: addresses.map(formatAddress) });
        return { requests: [], refusals: [] };
      },
    },
    contention,
    offer: { look: async () => folder, make: async () => undefined },
    outsidePods: { report: () => undefined },
    metrics: new Metrics(),
    settingWatch: { follow: (paths) => watched.set("attach", paths) },
  });
  const nodeRules = new NodeRulesController({
    ...common,
    options: { attach: "bridge", ...options },
    conflists: async () => folder,
    legacyForward: { ensure: async () => [] },
    settingWatch: { follow: (paths) => watched.set("node-rules", paths) },
  });
  const firewall = new FirewallController({
    ...{ facts, health, log, metrics: new Metrics(), gate: contention },
    options: { nonMasqueradeCidrs: [], vxlanFrom: "nodes", outsideHosts: [], ...options },
    firewall: {
      delayMs: 0,
      forwardDueInMs: undefined,
      restore: async () => [],
      change: async () => [],
      keep: async (desired) => {
        firewalled.push(desired);
        return [];
      },
    },
  });
  const core = { drivers, gate: contention };
  const keep = async (observed: KernelSnapshot, former: readonly string[] = []) => {
    changed = [];
    facts.of(NODE_CHOICE).publish(choiceOf(former));
    const choice = facts.of(NODE_CHOICE).value ?? choiceOf(former);
    facts.of(PEER_ADDRESSES).publish({ choice, senders: [parseAddress("192.0.2.2")], unmasqueraded: [] });
    const pass = {
      reasons: ["a test"],
      kernel: { snapshot: async () => ({ state: observed, port: 77 }) },
      later: () => undefined,
    };
    for (const controller of [runnable(nodeRules, core), firewall, runnable(attach, core)]) await controller.run(pass);
    const { bridge, routed } = attach.filter ?? {};
    return { settings: changed, bridge, routed, renumbering: facts.of(PODS_SEEN).value?.renumbering };
  };
  const allWatched = () => ["node-rules", "attach"].flatMap((name) => watched.get(name) ?? []);
  return { keep, files, repaired, attached, answered, firewalled, watched: allWatched, controller: attach };
}

test("restoring a setting that another program changed is a repair, and setting it in the first pass is not", async () => {
  const { keep, files, repaired } = bench();
  const both = ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"];
  expect((await keep(nothing)).settings).toEqual(both);
  expect(repaired).toEqual([]);
  files.writeFile("/proc/sys/net/ipv4/ip_forward", new TextEncoder().encode("0\n"));
  expect((await keep(nothing)).settings).toEqual(both.slice(0, 1));
  expect(repaired).toEqual(both.slice(0, 1));
});

test("a re-created bridge gets the hardware address that it had when its pods were attached", async () => {
  const { keep, attached } = bench();
  const withPod = { ...nothing, links: [UNDERLAY, BRIDGE, PORT] };
  await keep(withPod);
  await keep({ ...nothing, links: [UNDERLAY, { ...BRIDGE, mac: "02:00:00:00:00:99" }, PORT] });
  await keep({ ...nothing, links: [UNDERLAY, { ...PORT, masterIndex: 0 }] });
  expect(attached.map(({ texts }) => texts.join("; "))).toEqual([
    expect.stringMatching(/hairpin.*ip address add 10\.244\.1\.1\/24/),
    expect.stringMatching(/^ip link set .*02:00:00:00:00:05/),
    expect.stringMatching(/^ip link add .*02:00:00:00:00:05/),
  ]);
  // The first pod's bridge is being created: the missing parts never existed.
  expect(attached.map(({ gate }) => gate !== undefined)).toEqual([false, true, true]);
  await keep(nothing);
  await keep({ ...nothing, links: [UNDERLAY, { ...BRIDGE, mac: "02:00:00:00:00:77" }, PORT] });
  expect(attached.at(-1)?.texts.join()).not.toContain("address 02:");
});

test("the routes of a pod's own link are restored from host-local's reservations after the link was once complete", async () => {
  const { keep, files, attached } = bench({ attach: "ptp" });
  files.makeDirectory(FOLDER);
  files.writeFile(`${FOLDER}/10.244.1.7`, new TextEncoder().encode("c7\r\neth0"));
  const end = { ...PORT, masterIndex: 0 };
  const gateway = { index: 7, prefix: parsePrefix("10.244.1.1/32"), scope: 0, isTentative: false, isDuplicate: false };
  await keep({ ...nothing, links: [UNDERLAY, end] });
  expect(attached.at(-1)?.texts).toEqual([]);
  const { routed } = await keep({ ...nothing, links: [UNDERLAY, end], addresses: [gateway] });
  expect(routed).toMatchObject({ network: "cbr0", gateways: [parseAddress("10.244.1.1")] });
  expect(attached.at(-1)?.texts).toEqual([expect.stringMatching(/^ip route add 10\.244\.1\.7\/32 dev index 7/)]);
  await keep({ ...nothing, links: [UNDERLAY, end] });
  expect(attached.at(-1)?.texts).toEqual([
    expect.stringMatching(/^ip address add 10\.244\.1\.1\/32 dev index 7/),
    expect.stringMatching(/^ip route add 10\.244\.1\.7\/32 dev index 7/),
  ]);
});

const ROUTED = link(8, "veth8", { alias: "cni:cbr0/c8/eth0" });
const gatewayOn = (index: number, prefix: string) => ({
  ...{ index, prefix: parsePrefix(prefix), scope: 0, isTentative: false, isDuplicate: false },
});
const PROXY = { "conf/cni0/proxy_arp": "0", "neigh/cni0/proxy_delay": "80" };

function withBridgeSettings(files: FakeFiles, values: Readonly<Record<string, string>> = PROXY): void {
  for (const [name, value] of Object.entries(values)) {
    const path = `/proc/sys/net/ipv4/${name}`;
    files.makeDirectory(path.slice(0, path.lastIndexOf("/")));
    files.writeFile(path, new TextEncoder().encode(value));
  }
}
const proxySettings = (files: FakeFiles) =>
  Object.keys(PROXY).map((name) => files.snapshot()[`/proc/sys/net/ipv4/${name}`]);

test.each(["bridge", "ptp"] as const)(
  "with new pods attached by %s, both kinds are maintained, and the bridge answers for pods with links of their own",
  async (attach) => {
    const { keep, files, attached, repaired, watched } = bench({ attach });
    withBridgeSettings(files);
    files.makeDirectory(FOLDER);
    files.writeFile(`${FOLDER}/10.244.1.8`, new TextEncoder().encode("c8\r\neth0"));
    const both = { ...nothing, links: [UNDERLAY, BRIDGE, PORT, ROUTED], addresses: [gatewayOn(8, "10.244.1.1/32")] };
    const { bridge, routed, settings } = await keep(both);
    expect([bridge, routed]).toMatchObject([{ index: 5 }, { network: "cbr0" }]);
    expect(attached.map(({ texts }) => texts.join("; "))).toEqual([
      expect.stringMatching(/index 7 .*hairpin on; ip address add 10\.244\.1\.1\/24 dev index 5/),
      expect.stringMatching(/^ip route add 10\.244\.1\.8\/32 dev index 8/),
    ]);
    expect(settings).toContain("net.ipv4.conf.cni0.proxy_arp=1");
    expect(proxySettings(files)).toEqual(["1", "0"]);
    expect(watched()).toContain("/proc/sys/net/ipv4/conf/cni0/proxy_arp");
    withBridgeSettings(files);
    await keep(both);
    expect(proxySettings(files)).toEqual(["1", "0"]);
    expect(repaired).toContain("net.ipv4.conf.cni0.proxy_arp=1");
    // An end that has lost its bridge or its address is known from earlier passes.
    const lost = { ...nothing, links: [UNDERLAY, BRIDGE, { ...PORT, masterIndex: 0 }, ROUTED] };
    await keep(lost);
    expect(attached.slice(-2).map(({ texts }) => texts.join("; "))).toEqual([
      expect.stringMatching(/^ip link set index 7 master index 5 up/),
      expect.stringMatching(/^ip address add 10\.244\.1\.1\/32 dev index 8/),
    ]);
    if (attach === "ptp") return;
    const rest = await keep({ ...nothing, links: [UNDERLAY, BRIDGE, PORT] });
    expect([rest.routed, proxySettings(files)]).toEqual([undefined, ["0", "80"]]);
    expect(watched()).not.toContain("/proc/sys/net/ipv4/conf/cni0/proxy_arp");
  },
);

test("the first pass reverts what an earlier weftd has set, and keeps an operator's setting", async () => {
  const bridged = { ...nothing, links: [UNDERLAY, BRIDGE, PORT] };
  for (const [delay, expected] of [
    ["0", ["0", "80"]],
    ["80", ["1", "80"]],
  ] as const) {
    const { keep, files } = bench();
    withBridgeSettings(files, { "conf/cni0/proxy_arp": "1", "neigh/cni0/proxy_delay": delay });
    await keep(bridged);
    await keep(bridged);
    expect(proxySettings(files)).toEqual(expected);
  }
});

test("an empty bridge that no pod needs is removed once, and that is not a repair", async () => {
  const { keep, attached, repaired } = bench({ attach: "ptp" });
  const addresses = [gatewayOn(5, "10.244.1.1/24")];
  const { bridge } = await keep({ ...nothing, links: [UNDERLAY, BRIDGE], addresses });
  expect(bridge).toBeUndefined();
  expect(attached[0]).toEqual({ texts: ["ip link del index 5"], gate: undefined });
  await keep(nothing);
  expect(attached.flatMap(({ texts }) => texts)).toEqual(["ip link del index 5"]);
  expect(repaired).not.toContain("ip link del index 5");
});

const onBridge = (text: string) => ({
  ...{ index: BRIDGE.index, prefix: parsePrefix(text), scope: 0, isTentative: false, isDuplicate: false },
});

test("reservations are read only if the bridge has another address or the node had another subnet", async () => {
  const { keep, files } = bench();
  let reads = 0;
  const { status } = files;
  files.status = (path) => {
    if (path === FOLDER) reads += 1;
    return status.call(files, path);
  };
  const withPod = { ...nothing, links: [UNDERLAY, BRIDGE, PORT] };
  await keep({ ...withPod, addresses: [onBridge("10.244.1.1/24")] });
  expect(reads).toBe(0);
  await keep({ ...withPod, addresses: [onBridge("10.244.1.1/24"), onBridge("10.244.9.1/24")] });
  expect(reads).toBe(1);
  await keep(withPod, ["10.244.9.0/24"]);
  expect(reads).toBe(2);
});

test("a former subnet's gateway is removed with its last pod, and stays if reservations cannot be read", async () => {
  const { keep, files, attached } = bench();
  const withPod = { ...nothing, links: [UNDERLAY, BRIDGE, PORT], addresses: [onBridge("10.244.9.1/24")] };
  const removal = "ip address del 10.244.9.1/24 dev index 5";
  expect((await keep(withPod, ["10.244.9.0/24"])).renumbering).toBeUndefined();
  expect(attached.at(-1)?.texts).not.toContain(removal);
  files.makeDirectory(FOLDER);
  files.writeFile(`${FOLDER}/10.244.9.7`, new TextEncoder().encode("c7\r\neth0"));
  const { renumbering, bridge } = await keep(withPod, ["10.244.9.0/24"]);
  expect(renumbering?.outside).toEqual([
    { address: parseAddress("10.244.9.7"), mark: "cni:cbr0/c7/eth0", isBridged: true },
  ]);
  expect(bridge?.outside).toEqual(new Set(["cni:cbr0/c7/eth0"]));
  expect(attached.at(-1)?.texts).not.toContain(removal);
  await keep({ ...withPod, links: [UNDERLAY, BRIDGE] }, ["10.244.9.0/24"]);
  expect(attached.at(-1)).toEqual({ texts: [removal], gate: undefined });
});

test("every setting that a controller maintains is watched", async () => {
  const { keep, watched } = bench();
  await keep(nothing);
  expect(watched()).toEqual(["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables"]);
});

test("the rules cover the node's families and its VTEPs", async () => {
  const { keep, firewalled } = bench({ nonMasqueradeCidrs: [parseSubnet("192.0.2.0/24")] });
  await keep(nothing);
  const [{ table, ranges } = { table: undefined, ranges: [] }] = firewalled;
  expect(ranges).toEqual([parseSubnet("10.244.0.0/16")]);
  expect(table?.chains.find(({ hook }) => hook === "input")?.rules.map(ruleText)).toEqual([
    expect.stringContaining("th dport 8472 @th,96,24 1 ip saddr != @vxlan-senders4"),
  ]);
  expect(table?.sets.find(({ name }) => name === "non-masquerade4")?.elements).toEqual([parseSubnet("192.0.2.0/24")]);
});

test("flags select VXLAN packets from anybody and pods without a bridge", async () => {
  const { keep, files, firewalled, attached } = bench({ vxlanFrom: "anybody", attach: "ptp" });
  const { bridge } = await keep({ ...nothing, links: [UNDERLAY, { ...PORT, masterIndex: 0 }] });
  expect(firewalled[0]?.table.chains.map(({ name }) => name)).toEqual(["postrouting"]);
  expect([bridge, attached.map(({ texts }) => texts)]).toEqual([undefined, [[], []]]);
  expect(files.snapshot()["/proc/sys/net/bridge/bridge-nf-call-iptables"]).toBe("0\n");
});

test("a refused bridge fails the pass, even if another program created it first", async () => {
  const { controller } = bench();
  const step = requestStep(createBridge({ name: "cni0", mac: "02:00:00:00:00:05", mtu: 1450 }));
  const [EEXIST, ENODEV] = [17, 19];
  const outcome = (errno: number, isComplete: boolean) => ({
    ...{ desired: {} as WantedPods, observed: {} as SeenPods, conflicts: [], done: [], resting: [], isComplete },
    failures: [{ step, error: new NetlinkError(step.request, errno, undefined, "a test") }],
  });
  for (const errno of [EEXIST, ENODEV]) {
    expect(controller.errorsOf(outcome(errno, true))).toEqual([]);
    expect(controller.errorsOf(outcome(errno, false))).toHaveLength(1);
  }
});
