/**
 * Tests the pass without a kernel: what it programs, announces, writes and reports.
 *
 * Longer than 400 lines: half of it is the bench that all cases share.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseNetConf } from "../../pkg/backend/net-conf.ts";
import { formatVtep } from "../../pkg/backend/vxlan/announcement.ts";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import type { Announcement } from "../../pkg/cluster/node/annotations.ts";
import { type ClusterNode, parseNode } from "../../pkg/cluster/node/node.ts";
import { CONFLIST_NAME, VTEP_ALIAS } from "../../pkg/footprint.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import { deleteLink, type Link } from "../../pkg/kernel/link.ts";
import { addRoute } from "../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { NetlinkError } from "../../pkg/netlink/errors.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { RT_SCOPE } from "../../pkg/netlink/route.ts";
import type { Table } from "../../pkg/nft/table.ts";
import type { DataPath } from "../../pkg/reconcile/data-path.ts";
import { requestStep } from "../../pkg/reconcile/plan-step.ts";
import { RepairGate } from "../../pkg/reconcile/repair-gate.ts";
import { SystemError } from "../../pkg/sys/errors.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { SeveralFailures } from "../core/attempts.ts";
import { runnable } from "../core/controller-pass.ts";
import { Drivers } from "../core/drivers/drivers.ts";
import { Health } from "../core/health.ts";
import { openLog } from "../core/log.ts";
import { Metrics } from "../core/metrics.ts";
import { Facts, Topic } from "../core/topic.ts";
import { readConflistFolder } from "../sources/conflist-folder.ts";
import { NodeView } from "../sources/node-view.ts";
import { AttachController } from "./attach/attach.ts";
import { OutsidePods } from "./attach/outside-pods.ts";
import { RuntimeOffer } from "./attach/runtime-offer.ts";
import { PEER_ADDRESSES, POLICY_STATE, PROGRAMMED_WAY } from "./facts.ts";
import { FirewallController } from "./node-rules/firewall-controller.ts";
import { NodeRulesController } from "./node-rules/node-rules.ts";
import { LINGER_MS } from "./peers/old-channels.ts";

import { PeersController } from "./peers/peers.ts";
import type { StampContent, TableContent } from "./peers/run-files.ts";

const EROFS = 30;

const UNDERLAY: Link = {
  index: 2,
  name: "eth0",
  mtu: 1500,
  mac: "02:00:00:00:00:01",
  isUp: true,
  isPromiscuous: false,
  isAllMulticast: false,
  txQueueLength: 1000,
  isOperational: true,
  kind: "",
  masterIndex: 0,
  peerIndex: 0,
  alias: "",
  vxlan: undefined,
  bridge: undefined,
  port: undefined,
};

const state: KernelSnapshot = {
  links: [UNDERLAY],
  addresses: [
    {
      index: 2,
      prefix: parsePrefix("192.0.2.1/24"),
      scope: RT_SCOPE.universe,
      isTentative: false,
      isDuplicate: false,
    },
  ],
  routes: [],
  neighbours: [],
  forwarding: [],
};

let cniConfDir = "";
beforeEach(() => {
  cniConfDir = join(mkdtempSync(join(tmpdir(), "weftd-reconciler-")), "net.d");
});
afterEach(() => rmSync(join(cniConfDir, ".."), { recursive: true, force: true }));

const text = '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}';

function node(name: string, address: string, podCIDRs: readonly string[]): ClusterNode {
  return parseNode({
    metadata: { name },
    spec: { podCIDRs },
    status: { addresses: [{ type: "InternalIP", address }] },
  });
}

const own = node("n1", "192.0.2.1", ["10.244.1.0/24"]);
const peer = node("n2", "192.0.2.2", ["10.244.2.0/24"]);

/** Runs the controllers of a node with a fake kernel, API server and run directory. A pass runs each of them once. */
function bench({ knowsPolicies = true } = {}) {
  const clock = new ManualClock();
  const view = new NodeView("n1");
  const health = new Health(clock);
  const metrics = new Metrics();
  const files = new FakeFiles();
  files.makeDirectory("/proc/sys/net/ipv4");
  files.writeFile("/proc/sys/net/ipv4/ip_forward", new TextEncoder().encode("0\n"));
  files.makeDirectory("/proc/sys/net/bridge");
  files.writeFile("/proc/sys/net/bridge/bridge-nf-call-iptables", new TextEncoder().encode("1\n"));
  const done = {
    programmed: [] as DataPath[],
    sent: [] as string[],
    tables: [] as Table[],
    announced: [] as Announcement[],
    tablesWritten: [] as TableContent[],
    stamps: [] as StampContent[],
    waysAtStamp: [] as (number | undefined)[],
    clearedUp: 0,
    events: [] as string[],
    moves: 0,
    later: [] as number[],
  };
  const trouble = {
    refusals: [] as NetlinkError[],
    error: undefined as Error | undefined,
    runDir: undefined as Error | undefined,
    stamp: undefined as Error | undefined,
    nftables: undefined as Error | undefined,
    complaints: [] as string[],
    state,
  };
  const repaired: string[] = [];
  const newGate = () =>
    new RepairGate(clock, { onRepair: (_object, text) => repaired.push(text()), onContention: () => undefined });
  const facts = new Facts();
  if (knowsPolicies) facts.of(POLICY_STATE).publish({ mode: "enforce", hasPolicies: true, fail: "closed" });
  const log = openLog("fatal", "n1");
  const events = { report: ({ reason }: { readonly reason: string }) => done.events.push(reason) };
  const settingChange = new Topic("setting");
  const settingWatch = { follow: () => undefined };
  const conflists = () => readConflistFolder(cniConfDir);
  const kernel = { snapshot: async () => ({ state: trouble.state, port: 77 }) };
  const real = new Drivers({
    kernel: { send: async () => [], commit: async () => undefined },
    settings: files,
    processes: { keep: async () => ({ done: [], failures: [] }) },
  });
  const drivers: Pick<Drivers, "apply"> = {
    apply: async (owner, steps, isComplete) => {
      const outcome = await real.apply(owner, steps, isComplete);
      if (owner.name !== "peers") return outcome;
      if (trouble.error !== undefined) throw trouble.error;
      clock.advance(3);
      done.sent.push(...steps.map((step) => step.text));
      const failures = trouble.refusals.map((error) => ({ step: requestStep(error.request as Request), error }));
      return { ...outcome, failures };
    },
  };
  /** Devices exist as soon as they are requested. */
  class PlayedPeers extends PeersController {
    override plan(...[wanted, observed]: Parameters<PeersController["plan"]>) {
      done.programmed.push(wanted.state.dataPath);
      return { ...super.plan(wanted, observed), isComplete: true };
    }
  }
  const peers = new PlayedPeers({
    options: {
      nodeName: "n1",
      iface: undefined,
      ifaceCidr: [],
      ifaceRegex: undefined,
      ifaceCanReach: undefined,
      publicIp: [],
    },
    sources: {
      view,
      nodes: new Topic("nodes"),
      netConf: { current: { conf: parseNetConf(text), text } },
      netConfChange: new Topic("net-conf"),
    },
    onMove: () => {
      done.moves += 1;
    },
    announcer: { announce: (announcement) => done.announced.push(announcement) },
    runFiles: {
      deviceMacs: new Map(),
      knownSubnets: [],
      writeTable: async (table) => {
        if (trouble.runDir !== undefined) throw trouble.runDir;
        done.tablesWritten.push(table);
        return true;
      },
      changeTable: async (table) => {
        if (trouble.runDir !== undefined) throw trouble.runDir;
        done.tablesWritten.push(table);
      },
      renewStamp: async () => undefined,
      writeStamp: async (stamp) => {
        if (trouble.stamp !== undefined) throw trouble.stamp;
        done.stamps.push(stamp);
        done.waysAtStamp.push(facts.of(PROGRAMMED_WAY).value?.podMtu);
        return true;
      },
    },
    ...{ facts, conflists, files, events, health, metrics, log, clock },
  });
  const attach = new AttachController({
    options: { attach: "bridge", runDir: "/run/weft", guardSenders: true },
    programmer: { answerFor: async () => ({ requests: [], refusals: [] }) },
    contention: newGate(),
    offer: new RuntimeOffer({
      ...{ cniConfDir, health, events, log },
      trial: { complaints: async () => trouble.complaints },
      removeFlannelRules: async () => {
        done.clearedUp++;
        return [];
      },
    }),
    outsidePods: new OutsidePods({ nodeName: "n1", health, events, log }),
    ...{ facts, files, settingWatch, settingChange, health, metrics, log },
  });
  const nodeRules = new NodeRulesController({
    options: { attach: "bridge" },
    legacyForward: { ensure: async () => [] },
    ...{ facts, conflists, files, settingWatch, settingChange, health, log },
  });
  const firewall = new FirewallController({
    options: { nonMasqueradeCidrs: [], vxlanFrom: "nodes", outsideHosts: [] },
    firewall: {
      delayMs: 0,
      forwardDueInMs: undefined,
      restore: async () => [],
      change: async (changeOf) => {
        const { table, requests } = changeOf(done.tables.at(-1) as Table);
        if (trouble.nftables !== undefined) throw trouble.nftables;
        done.tables.push(table);
        return requests;
      },
      keep: async ({ table }) => {
        if (trouble.nftables !== undefined) throw trouble.nftables;
        done.tables.push(table);
        return ["table inet weft"];
      },
    },
    gate: newGate(),
    ...{ facts, health, metrics, log },
  });
  const controllers = [
    runnable(peers, { drivers, gate: newGate() }),
    runnable(nodeRules, { drivers, gate: newGate() }),
    firewall,
    runnable(attach, { drivers, gate: newGate() }),
  ];
  // As the controller's loop would do.
  facts.of(PEER_ADDRESSES).subscribe(() => {
    firewall.run({ reasons: [PEER_ADDRESSES.name], kernel, later: () => undefined }).catch(() => undefined);
  });
  const later = (_reason: string, delayMs: number) => done.later.push(delayMs);
  const pass = async (reasons: readonly string[]) => {
    const failures: unknown[] = [];
    for (const controller of controllers) {
      try {
        await controller.run({ reasons, kernel, later });
        controller.succeeded?.();
      } catch (error) {
        controller.failed?.(error, 100);
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new SeveralFailures(failures);
  };
  const reconciler = {
    pass,
    get filter() {
      return peers.filter && { ...attach.filter, ...peers.filter };
    },
  };
  const hear = (...nodes: ClusterNode[]) => view.accept({ type: "sync", nodes }, clock.nowMs());
  return { reconciler, clock, view, health, metrics, files, done, trouble, hear, repaired, facts };
}

const conflist = () => join(cniConfDir, CONFLIST_NAME);

test("nothing is compared or removed before all nodes were listed", async () => {
  const { reconciler, view, done, health } = bench();
  view.accept({ type: "upsert", node: own }, 0);
  await reconciler.pass(["kernel"]);
  expect(done.programmed).toEqual([]);
  expect(reconciler.filter).toBeUndefined();
  expect(health.readiness().isGood).toBe(false);
});

test("while the node has no subnet, readiness has the reason and the kernel is not changed", async () => {
  const { reconciler, done, health, hear } = bench();
  hear(node("n1", "192.0.2.1", []), peer);
  await reconciler.pass(["nodes"]);
  expect(done.programmed).toEqual([]);
  expect(health.readiness().text).toContain("[-] subnet: Node n1 has no spec.podCIDRs yet");
});

test("another network's conflist that the runtime would use is reported once", async () => {
  const { reconciler, done, hear, health } = bench();
  health.holds("nodes", "listed");
  mkdirSync(cniConfDir);
  writeFileSync(join(cniConfDir, "00-other.conf"), "{}");
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  await reconciler.pass(["interval"]);
  expect(done.events).toEqual(["ForeignConflist"]);
  expect(health.readiness().isGood).toBe(true);
});

test("a network with which no pod could start is not taken over, and the report names file and key", async () => {
  const { reconciler, done, hear, health, trouble } = bench();
  hear(own, peer);
  mkdirSync(cniConfDir);
  const flannel = join(cniConfDir, "10-flannel.conflist");
  writeFileSync(flannel, JSON.stringify({ name: "podnet", plugins: [{ type: "flannel" }] }));
  trouble.complaints = ["portmap: conditionsV4: no such condition"];
  await reconciler.pass(["nodes"]);
  await reconciler.pass(["interval"]);
  expect(done.later).toContain(5000);
  expect(readdirSync(cniConfDir)).toEqual(["10-flannel.conflist"]);
  expect(health.readiness().text).toMatch(/\[-\] conflist: 10-flannel\.conflist in .* portmap: conditionsV4: no such/);
  expect(done.events).toEqual(["ConflistRefused"]);
  trouble.complaints = [];
  await reconciler.pass(["interval"]);
  expect(readdirSync(cniConfDir)).toEqual([CONFLIST_NAME, "10-flannel.conflist.weft-disabled"]);
});

test("a takeover from flannel disables its conflist and removes its rules", async () => {
  const { reconciler, done, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  expect(done.clearedUp).toBe(0);
  const plugins = [{ type: "flannel", delegate: { bridge: "br7" } }];
  writeFileSync(join(cniConfDir, "10-flannel.conflist"), JSON.stringify({ name: "podnet", plugins }));
  await reconciler.pass(["interval"]);
  expect(JSON.parse(readFileSync(conflist(), "utf8"))).toMatchObject({
    name: "podnet",
    plugins: [{ bridge: "br7" }, {}, {}, {}],
  });
  expect(readdirSync(cniConfDir)).toEqual([CONFLIST_NAME, "10-flannel.conflist.weft-disabled"]);
  expect(done.clearedUp).toBe(1);
  expect(done.events).toEqual(["TakenOver"]);
});

test("a pass programs, announces, writes the files, and makes the node ready", async () => {
  const { reconciler, done, health, hear, files } = bench();
  hear(own, peer);
  health.holds("nodes", "listed");
  await reconciler.pass(["nodes"]);
  expect(done.programmed[0]?.routes.map(({ destination }) => formatPrefix(destination))).toEqual(["10.244.2.0/24"]);
  expect(done.tables[0]?.name).toBe("weft");
  expect(done.announced[0]).toMatchObject({ backend: { type: "host-gw" }, publicIp: parseAddress("192.0.2.1") });
  expect(done.tablesWritten[0]).toMatchObject({ netConf: text, deviceMacs: new Map() });
  expect(done.stamps[0]).toEqual({ backend: "host-gw", devices: ["eth0"] });
  expect(files.snapshot()["/proc/sys/net/ipv4/ip_forward"]).toBe("1");
  expect(JSON.parse(readFileSync(conflist(), "utf8")).plugins.at(-1)).toEqual({ type: "host-gw", runDir: "/run/weft" });
  expect(health.readiness().text).toMatch(/^ready\n[\s\S]*reconcile: 1 of 1 peers connected/);
});

test("a pass sets the filter for notifications", async () => {
  const { reconciler, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  expect(reconciler.filter).toMatchObject({
    linkNames: new Set(["eth0"]),
    linkIndexes: new Set([2]),
    devices: new Map(),
    destinations: new Set(["10.244.2.0/24", "10.244.1.0/24"]),
    bridge: { name: "cni0", index: 0, network: "cbr0", mac: expect.any(String) },
    ownPort: 77,
  });
});

test("connections are reopened only when packets leave from another address", async () => {
  const { reconciler, done, trouble, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  await reconciler.pass(["interval"]);
  expect(done.moves).toBe(0);
  const addresses = state.addresses.map((address) => ({ ...address, prefix: parsePrefix("192.0.2.101/24") }));
  trouble.state = { ...state, addresses };
  await reconciler.pass(["address"]);
  expect(done.moves).toBe(1);
});

test("an announced VTEP is kept until peers have seen its withdrawal, and for some time after", async () => {
  const { reconciler, clock, done, trouble, hear } = bench();
  const announced = (type: string) => ({
    ...own,
    backend: {
      type,
      ...(type === "vxlan" && { data: { 4: formatVtep({ vni: 1, mac: "0a:00:00:00:00:01" }) }, port: 8472 }),
    },
  });
  const kept = () => done.programmed.at(-1)?.devices.map(({ name }) => name);
  hear(announced("vxlan"), peer);
  await reconciler.pass(["nodes"]);
  expect([kept(), done.later]).toEqual([["flannel.1"], []]);
  const vtep = {
    ...{ ...UNDERLAY, index: 7, name: "flannel.1", kind: "vxlan", alias: VTEP_ALIAS },
    vxlan: { vni: 1, port: 8472, link: 2, local: Uint8Array.of(192, 0, 2, 1), learning: 0 },
  };
  trouble.state = { ...state, links: [...state.links, vtep] };
  hear(announced("host-gw"), peer);
  await reconciler.pass(["nodes"]);
  expect([kept(), done.later]).toEqual([["flannel.1"], [LINGER_MS]]);
  clock.advance(LINGER_MS);
  await reconciler.pass(["an old VTEP expires"]);
  expect([kept(), done.later]).toEqual([[], [LINGER_MS]]);
});

test("measures the time from each Node event to the end of programming", async () => {
  const { reconciler, clock, view, metrics, hear } = bench();
  hear(own);
  clock.advance(1);
  view.accept({ type: "upsert", node: peer }, clock.nowMs());
  await reconciler.pass(["nodes"]);
  const exposition = await metrics.text();
  expect(exposition).toContain("weft_programming_latency_seconds_count 2");
  expect(exposition).toMatch(/weft_programming_latency_seconds_sum 0\.007/);
});

test("a refusal for a single peer affects neither announcement nor conflist nor readiness", async () => {
  const { reconciler, done, trouble, health, view, hear, metrics } = bench();
  hear(own, peer);
  health.holds("nodes", "listed");
  const request = addRoute({ destination: parsePrefix("10.244.2.0/24"), outputIndex: UNDERLAY.index });
  trouble.refusals = [new NetlinkError(request, 101, undefined, "a test")];
  await reconciler.pass(["nodes"]).catch(() => undefined);
  expect(done.announced).toHaveLength(1);
  expect(done.stamps).toHaveLength(1);
  expect(existsSync(conflist())).toBe(true);
  expect(health.readiness().isGood).toBe(true);
  expect(health.readiness().text).toContain("[+] reconcile: 0 of 1 peers connected");
  expect(health.readiness().text).toContain("[!] peers: n2: ip route add 10.244.2.0/24");
  expect(await metrics.text()).toContain("weft_programming_latency_seconds_count 0");
  // The event is still unprogrammed; the pass that succeeds counts it.
  expect(view.takeHeard()).toHaveLength(1);
});

test("the conflist is not written before it is known whether the cluster has policies, and follows the fact", async () => {
  const { reconciler, hear, facts } = bench({ knowsPolicies: false });
  const key = () => JSON.parse(readFileSync(conflist(), "utf8")).plugins[0].networkPolicy;
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  expect(existsSync(conflist())).toBe(false);
  facts.of(POLICY_STATE).publish({ mode: "enforce", hasPolicies: true, fail: "closed" });
  await reconciler.pass([POLICY_STATE.name]);
  expect(key()).toEqual({ socket: "/run/weft/policy.sock", fail: "closed" });
  facts.of(POLICY_STATE).publish({ mode: "enforce", hasPolicies: false, fail: "open" });
  await reconciler.pass([POLICY_STATE.name]);
  expect(key().fail).toBe("open");
  facts.of(POLICY_STATE).publish({ mode: "off", hasPolicies: false, fail: "open" });
  await reconciler.pass([POLICY_STATE.name]);
  expect(key()).toBeUndefined();
});

test("the conflist is not written before the stamp says that the node can serve", async () => {
  const { reconciler, done, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  expect([done.waysAtStamp, existsSync(conflist())]).toEqual([[undefined], true]);
});

test("a stamp that cannot be written does not affect the conflist and hides no refusal", async () => {
  const { reconciler, trouble, health, hear } = bench();
  hear(own, peer);
  trouble.stamp = new Error("no space left on device");
  trouble.refusals = [new NetlinkError(deleteLink(9), 1, undefined, "a test")];
  await reconciler.pass(["nodes"]).catch(() => undefined);
  expect(existsSync(conflist())).toBe(true);
  expect(health.readiness().text).toMatch(/no space left on device; the kernel refused: ip link del/);
});

test("a refusal that concerns this node itself makes it unready", async () => {
  const { reconciler, trouble, health, hear } = bench();
  hear(own, peer);
  trouble.refusals = [new NetlinkError(deleteLink(9), 1, undefined, "a test")];
  await reconciler.pass(["nodes"]).catch(() => undefined);
  expect(health.readiness().text).toContain("[-] reconcile: the kernel refused: ip link del");
});

test("without a data path nothing is announced and no conflist is written", async () => {
  const { reconciler, done, trouble, hear } = bench();
  hear(own, peer);
  trouble.error = new Error("no buffer space");
  await expect(reconciler.pass(["nodes"])).rejects.toThrow("no buffer space");
  expect([done.announced, done.stamps]).toEqual([[], []]);
  expect(existsSync(conflist())).toBe(false);
});

test("a peer is removed from the node table before it is removed from the kernel, so an executable does not restore it", async () => {
  const { reconciler, done, trouble, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  hear(own);
  trouble.error = new Error("killed in the middle");
  await expect(reconciler.pass(["nodes"])).rejects.toThrow("killed in the middle");
  expect(done.tablesWritten.map(({ peers }) => peers.length)).toEqual([1, 0]);
});

test("a peer that cannot be connected is counted and does not affect the others", async () => {
  const { reconciler, done, metrics, hear } = bench();
  hear(own, peer, node("n3", "198.51.100.3", ["10.244.3.0/24"]));
  await reconciler.pass(["nodes"]);
  expect(done.programmed[0]?.routes).toHaveLength(1);
  const exposition = await metrics.text();
  expect(exposition).toContain('weft_peers{state="connected"} 1');
  expect(exposition).toContain('weft_peers{state="unconnected"} 1');
});

test.each<[string, RegExp, (played: ReturnType<typeof bench>) => void]>([
  [
    "a full run directory",
    /no space left/,
    ({ trouble }) => {
      trouble.runDir = new Error("no space left on device");
    },
  ],
  [
    "a kernel without nftables",
    /nft: not supported/,
    ({ trouble }) => {
      trouble.nftables = new Error("nft: not supported");
    },
  ],
  [
    "a setting that cannot be set",
    /sysctl -w net\.ipv4\.ip_forward=1/,
    ({ files }) => {
      files.writeFile = (path) => {
        throw new SystemError("open", path, EROFS);
      };
    },
  ],
])("%s is reported and does not affect the rest of the pass", async (_name, message, damage) => {
  const bed = bench();
  const { reconciler, done, health, hear } = bed;
  hear(own, peer);
  damage(bed);
  await reconciler.pass(["nodes"]).catch(() => undefined);
  expect(done.programmed[0]?.routes).toHaveLength(1);
  expect([done.announced.length, done.stamps.length, existsSync(conflist())]).toEqual([1, 1, true]);
  expect(health.readiness().text).toMatch(message);
});

test("all failures of a pass are reported", async () => {
  const { reconciler, trouble, hear } = bench();
  hear(own, peer);
  trouble.runDir = new Error("no space left on device");
  trouble.error = new Error("no buffer space");
  await expect(reconciler.pass(["nodes"])).rejects.toThrow("no space left on device; no buffer space");
});

test("a conflist that cannot be written is reported, and the data path is programmed", async () => {
  const { reconciler, done, health, hear } = bench();
  hear(own, peer);
  writeFileSync(cniConfDir, "a file where a directory belongs");
  await expect(reconciler.pass(["nodes"])).rejects.toThrow(/EEXIST|ENOTDIR/);
  expect(done.programmed).toHaveLength(1);
  expect(health.readiness().text).toMatch(/\[-\] conflist: .*net\.d/);
});

test("requests are repairs if the desired state has not changed", async () => {
  const { reconciler, hear, repaired } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  hear(own, node("n2", "192.0.2.2", ["10.244.2.0/24", "10.244.3.0/24"]));
  await reconciler.pass(["nodes"]);
  expect(repaired).toEqual([]);
  await reconciler.pass(["route"]);
  expect(repaired).toEqual([
    expect.stringMatching(/^ip route add 10\.244\.2\.0\/24 /),
    expect.stringMatching(/^ip route add 10\.244\.3\.0\/24 /),
  ]);
});

test("the change of a Node is programmed without reading the kernel", async () => {
  const { reconciler, view, clock, done, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  const later = node("n3", "192.0.2.3", ["10.244.3.0/24"]);
  expect(done.programmed.length).toBe(1);
  view.accept({ type: "upsert", node: later }, clock.nowMs());
  await reconciler.pass(["nodes"]);
  expect(done.sent.at(-1)).toMatch(/^ip route add 10\.244\.3\.0\/24 via 192\.0\.2\.3/);
  view.accept({ type: "delete", name: "n3" }, clock.nowMs());
  await reconciler.pass(["nodes"]);
  expect(done.sent.at(-1)).toMatch(/^ip route del 10\.244\.3\.0\/24 via 192\.0\.2\.3/);
  expect(done.tablesWritten.at(-1)?.peers.map(({ name }) => name)).toEqual(["n2"]);
  expect(done.programmed.length).toBe(1);
});

test("changes that arrive while this node is unknown are programmed when it is known again", async () => {
  const { reconciler, view, clock, done, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  view.accept({ type: "delete", name: "n1" }, clock.nowMs());
  view.accept({ type: "upsert", node: node("n3", "192.0.2.3", ["10.244.3.0/24"]) }, clock.nowMs());
  await reconciler.pass(["nodes"]);
  view.accept({ type: "upsert", node: node("n4", "192.0.2.4", ["10.244.4.0/24"]) }, clock.nowMs());
  await reconciler.pass(["nodes"]);
  expect(done.sent.join()).not.toMatch(/10\.244\.[34]\.0/);
  view.accept({ type: "upsert", node: own }, clock.nowMs());
  await reconciler.pass(["nodes"]);
  expect(done.programmed.at(-1)?.routes.map(({ destination }) => formatPrefix(destination))).toEqual([
    "10.244.2.0/24",
    "10.244.3.0/24",
    "10.244.4.0/24",
  ]);
});

test("a change of addresses keeps no earlier value in memory", async () => {
  const { reconciler, view, clock, done, hear, facts } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  const first = facts.of(PEER_ADDRESSES).value;
  for (const at of [3, 4]) {
    view.accept({ type: "upsert", node: node(`n${at}`, `192.0.2.${at}`, [`10.244.${at}.0/24`]) }, clock.nowMs());
    await reconciler.pass(["nodes"]);
  }
  expect(done.programmed.length).toBe(1);
  const value = facts.of(PEER_ADDRESSES).value;
  const { change, senders = [] } = value ?? {};
  expect(value).not.toBe(first);
  expect(change?.newSenders).toEqual([parseAddress("192.0.2.4")]);
  expect(change?.since).toEqual(senders.slice(0, -1));
});

test("a refused change of a Node leads to a comparison in the same pass", async () => {
  const { reconciler, view, clock, done, hear, trouble } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  view.accept({ type: "upsert", node: node("n3", "192.0.2.3", ["10.244.3.0/24"]) }, clock.nowMs());
  trouble.refusals = [new NetlinkError(deleteLink(9), 1, undefined, "a test")];
  await expect(reconciler.pass(["nodes"])).rejects.toThrow();
  expect(done.programmed.length).toBe(2);
  trouble.refusals = [];
  await reconciler.pass(["nodes"]);
  expect(done.programmed.length).toBe(3);
});

test.each(["kernel", "interval", "net-conf"])("a pass for %s compares everything", async (reason) => {
  const { reconciler, done, hear } = bench();
  hear(own, peer);
  await reconciler.pass(["nodes"]);
  await reconciler.pass(["nodes", reason]);
  expect(done.programmed.length).toBe(2);
});
