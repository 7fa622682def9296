/**
 * Tests the findings that test/live/doctor cannot provoke: each of these facts alone causes its finding.
 *
 * Longer than 400 lines: a table of facts, each with its finding.
 */
import { describe, expect, test } from "vitest";
import { parseNodeTable } from "../../pkg/backend/node-table.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { VERDICT } from "../../pkg/netlink/nftables.ts";
import { RTPROT_RA } from "../../pkg/netlink/route.ts";
import type { ChainPlace, NftChain } from "../../pkg/nft/ruleset.ts";
import { NO_ENDS } from "../../pkg/reconcile/pod-ends.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { desireOf } from "../node/kernel.ts";
import { attachmentOf } from "../node/networks.ts";
import type { KnownNodes } from "../node/run-dir.ts";
import type { ServicesPage } from "../node/services-page.ts";
import { CHECKS } from "./checks/all.ts";
import type { Facts } from "./facts.ts";
import { readNetworkd, readNetworkManager } from "./gather/other-programs.ts";
import { judgeAll, reportBlocks, statusOf } from "./report.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function tableOf(netConf: object, networks: readonly string[] = ["192.0.2.1/24"], vtepMacs: object = {}): KnownNodes {
  return parseNodeTable(
    bytes(
      JSON.stringify({
        ...{ format: 1, bootId: "boot", generation: 1, netConf: JSON.stringify(netConf), vtepMacs },
        node: {
          name: "n1",
          subnets: ["10.244.1.0/24"],
          underlay: { index: 2, mtu: 1500, local: ["192.0.2.1"], networks },
        },
        peers: [],
      }),
    ),
  );
}

const HOST_GW = { Network: "10.244.0.0/16", Backend: { Type: "host-gw" } };
const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mtu: 1500, mac: "", isUp: true, isPromiscuous: false, isAllMulticast: false, txQueueLength: 0 },
  ...{ isOperational: true, kind: "", masterIndex: 0, peerIndex: 0, alias: "", vxlan: undefined, bridge: undefined },
  ...{ port: undefined, ...more },
});

const SETTINGS: Readonly<Record<string, string>> = {
  "net.bridge.bridge-nf-call-iptables": "1",
  "net.ipv4.ip_forward": "1",
};

/** Services are another program's, which has no rules here. */
const NO_SERVICES: Facts["services"] = {
  ...{ page: undefined, isOthers: true, hasTable: false, missingOptions: [], proxies: [], proxyRules: [] },
  ...{ isHealthPortTaken: false, processors: 2 },
};
const IN_SYNC = { mode: "nftables", isOurs: true, isSynced: true, warnings: [] };
const PAGE: ServicesPage = {
  state: { ...IN_SYNC, counts: { services: 0, frontends: 0, endpoints: 0 } },
  node: {
    ...{ name: "n1", nodePortAddresses: [], externalIPs: "none", localPods: [], masqueradeAll: false },
    ...{ serviceRanges: ["10.96.0.0/16"], masqueradeBit: 14 },
  },
  services: [],
};
/** Services are weftd's, and all is well. */
const served = (change: Partial<Facts["services"]> = {}) => ({
  services: { ...NO_SERVICES, page: PAGE, isOthers: false, hasTable: true, ...change },
});
const paged = (change: Partial<ServicesPage>) => served({ page: { ...PAGE, ...change } });
const inState = (change: Partial<ServicesPage["state"]>) => paged({ state: { ...PAGE.state, ...change } });
const placed = (address: string) => ({ kind: "ExternalIP", address, protocol: "TCP", port: 80 }) as const;

/** A healthy node with the backend host-gw and no peers. */
function facts(change: Partial<Facts> = {}, settings: Readonly<Record<string, string | undefined>> = {}): Facts {
  const table = tableOf(HOST_GW);
  const observed = { links: [link(2, "eth0")], addresses: [], routes: [], neighbours: [], forwarding: [] };
  const own = { name: "05-weft.conflist", problem: undefined, network: "cbr0", plugins: [] };
  const masquerading = {
    ...{ family: 1, table: "weft", chain: "postrouting", hook: 4, policy: 1, priority: 100, type: "nat" },
    ...{ comment: undefined, use: 1 },
  };
  const rule = { ...masquerading, handle: 1n, expressions: [{ kind: "masq" as const, data: {} }] };
  const held = { is: "held" as const, ageMs: 0 };
  const stamp = { bootId: "boot", generation: 1, backend: "host-gw" as const, devices: ["eth0"] };
  return {
    command: "/opt/cni/bin/weft",
    hasWeftd: true,
    kernel: { release: "6.1.0-25-amd64", missingKinds: [], hasNetfilter: true },
    run: {
      path: "/run/weft",
      isAlive: true,
      bootId: "boot",
      stamp: { ...held, value: stamp },
      table: { ...held, value: table },
    },
    table,
    families: new Set([4]),
    readiness: { is: "answered", isReady: true, missing: [], warnings: [] },
    observed,
    desired: desireOf(table, observed),
    sysctl: (name) => ({ ...SETTINGS, ...settings })[name.join(".")],
    rules: {
      ruleset: { bases: [masquerading], rulesOf: () => [rule], elementsOf: () => [] },
      ...{ chains: [], missingAccepts: [], legacy: [] },
    },
    networks: { path: "/etc/cni/net.d", files: [own] },
    own,
    complaints: [],
    unseen: new Map(),
    attachment: attachmentOf(own),
    ...{ ends: NO_ENDS, proxies: [] },
    plugins: { directory: "/opt/cni/bin", files: new Map() },
    rooms: [],
    leases: { dataDir: "/var/lib/cni/networks", isComplete: true, leaked: [], uses: [] },
    renumbering: { outside: [], former: [], retained: { gateways: [], hosts: [] } },
    podRules: { missing: [], obstacles: [], unchecked: [], unknown: [] },
    services: NO_SERVICES,
    policies: { page: undefined, hasTable: false, engines: [] },
    networkd: { isRunning: false, managesForeignRoutes: true, managesForeignRules: true },
    networkManager: { isRunning: false, unmanaged: [] },
    ...{ offloads: [], probes: [], ...change },
  };
}

const observed = (change: Partial<Facts["observed"]>) => ({ observed: { ...facts().observed, ...change } });
/** A pod of an earlier subnet, with its gateway on the bridge. */
const OUTSIDE = {
  ...observed({
    links: [
      link(2, "eth0"),
      link(3, "cni0", { kind: "bridge" }),
      link(7, "veth7", { kind: "veth", masterIndex: 3, alias: "cni:cbr0/c7/eth0" }),
    ],
    addresses: ["10.244.1.1/24", "10.244.9.1/24"].map((text) => ({
      ...{ index: 3, prefix: parsePrefix(text), scope: 0, isTentative: false, isDuplicate: false },
    })),
    routes: ["10.244.1.0/24", "10.244.9.0/24"].map((text) => ({
      ...{ destination: parsePrefix(text), outputIndex: 3, protocol: 2, table: 254, scope: 253, type: 1 },
      isMultipath: false,
    })),
  }),
  renumbering: {
    outside: [{ address: parseAddress("10.244.9.7"), mark: "cni:cbr0/c7/eth0", isBridged: true }],
    former: [parsePrefix("10.244.9.0/24")],
    retained: { gateways: [{ gateway: parsePrefix("10.244.9.1/24"), held: "subnet" as const }], hosts: [] },
  },
};
const ports = (count: number) => [
  link(2, "eth0"),
  link(3, "cni0", { kind: "bridge" }),
  ...Array.from({ length: count }, (_, at) => link(10 + at, `veth${at}`, { masterIndex: 3 })),
];
const peersAt = (count: number) =>
  Array.from({ length: count }, (_, at) => ({
    ...{ name: `p${at}`, subnets: [], backendType: "host-gw", vtepMacs: {} },
    addresses: [parseAddress(`192.0.${2 + (at >> 8)}.${at & 255}`)],
  }));

test("reports a healthy node in one line", () => {
  expect(judgeAll(CHECKS, facts(served()))).toEqual([]);
  const findings = judgeAll(CHECKS, facts());
  expect(findings).toEqual([]);
  expect(statusOf(findings)).toBe(0);
  expect(reportBlocks(findings, { node: "n1", checks: 44, peers: 1, leftOut: [] })).toMatchObject([
    { text: { text: "n1 is healthy: 44 checks, 1 peer" } },
  ]);
});

describe("forward-drop", () => {
  const dropping = (table: string) => {
    const base = { ...facts().rules.ruleset.bases[0], table, chain: "c", hook: 2, type: "filter" } as NftChain;
    const drop = { kind: "immediate" as const, data: { dreg: 0, data: { verdict: { code: VERDICT.drop } } } };
    const rule = { ...base, handle: 2n, expressions: [drop] };
    const known = facts();
    const peer = {
      ...{ name: "n2", subnets: [parsePrefix("10.244.2.0/24")], addresses: [parseAddress("192.0.2.2")] },
      ...{ backendType: "host-gw", vtepMacs: {} },
    };
    const ruleset = {
      ...known.rules.ruleset,
      bases: [...known.rules.ruleset.bases, base],
      rulesOf: (chain: ChainPlace) => (chain.table === table ? [rule] : known.rules.ruleset.rulesOf(chain)),
    };
    const node = facts({ table: { ...tableOf(HOST_GW), peers: [peer] }, rules: { ...known.rules, ruleset } });
    return judgeAll(CHECKS, node).filter(({ check }) => check === "forward-drop");
  };

  test("reports another program's rules that drop pods' packets", () => {
    expect(dropping("site")).toMatchObject([{ severity: "error", seen: expect.stringContaining("inet site c") }]);
  });

  test("ignores policies, which may deny packets of any pod", () => {
    expect(["weft-policy", "weft-senders"].flatMap(dropping)).toEqual([]);
  });
});

describe("without weftd's files", () => {
  const run = { ...facts().run, isAlive: false, stamp: { is: "absent" }, table: { is: "absent" } } as const;
  const nothing = { run, table: undefined, readiness: undefined, desired: undefined, own: undefined };
  const found = (hasWeftd: boolean) => {
    const node = facts({ ...nothing, hasWeftd, networks: { path: "/etc/cni/net.d", files: [] } });
    return judgeAll(CHECKS, node).map(({ check, severity }) => `${severity} ${check}`);
  };

  test("a node with only the executables has no errors", () => {
    expect(found(false)).toEqual(["note weftd-alive"]);
  });

  test("a node without its weftd has four errors", () => {
    expect(found(true)).toEqual([
      ...["error weftd-alive", "error node-table", "error node-table", "error conflist-first"],
    ]);
  });
});

describe("facts that a live test cannot provoke", () => {
  const cases: [check: string, facts: Facts, seen: RegExp, run: string | undefined][] = [
    [
      "kernel-version",
      facts({ kernel: { release: "5.4.0-150-generic", missingKinds: [], hasNetfilter: true } }),
      /5\.4\.0-150-generic/,
      undefined,
    ],
    [
      "kernel-features",
      facts({ kernel: { release: "6.1.0", missingKinds: ["vxlan", "veth"], hasNetfilter: true } }),
      /does not support veth/,
      "modprobe veth",
    ],
    [
      "bridge-filter",
      facts({}, { "net.bridge.bridge-nf-call-iptables": undefined }),
      /br_netfilter/,
      "modprobe br_netfilter",
    ],
    [
      "router-advertisements",
      facts(
        {
          families: new Set([4, 6]),
          ...observed({
            routes: [
              {
                destination: { address: parseAddress("::"), length: 0 },
                ...{ protocol: RTPROT_RA, outputIndex: 2, table: 254, scope: 0, type: 1, isMultipath: false },
              },
            ],
          }),
        },
        {
          "net.ipv6.conf.all.forwarding": "1",
          "net.ipv6.conf.eth0.accept_ra": "1",
          "net.bridge.bridge-nf-call-ip6tables": "1",
        },
      ),
      /accept_ra is 1/,
      "sysctl -w net.ipv6.conf.eth0.accept_ra=2",
    ],
    [
      "neighbour-limits",
      facts(
        { table: { ...tableOf(HOST_GW, ["192.0.0.1/16"]), peers: peersAt(1000) } },
        { "net.ipv4.neigh.default.gc_thresh3": "1024" },
      ),
      /limited to 1024 entries, and this node has 1000 peers/,
      "sysctl -w net.ipv4.neigh.default.gc_thresh3=2048",
    ],
    [
      "connection-table",
      facts({}, { "net.netfilter.nf_conntrack_count": "262144", "net.netfilter.nf_conntrack_max": "262144" }),
      /tracks 262144 connections/,
      "sysctl -w net.netfilter.nf_conntrack_max=524288",
    ],
    ["bridge-ports", facts(observed({ links: ports(1000) })), /cni0 has 1000 of at most 1023 ports/, undefined],
    ["outside-pods", facts(OUTSIDE), /\(10\.244\.1\.0\/24\): 10\.244\.9\.7$/, undefined],
    [
      "subnet-overlap",
      facts({ table: tableOf(HOST_GW, ["10.244.7.1/20"]) }),
      /overlaps the underlay's 10\.244\.0\.0\/20/,
      undefined,
    ],
    [
      "peers",
      facts({
        desired: {
          ...(facts().desired as NonNullable<Facts["desired"]>),
          problems: [{ peer: "n7", trouble: "SameMac", reason: "its VTEP's MAC is n8's too" }],
        },
      }),
      /n7: its VTEP's MAC is n8's too/,
      undefined,
    ],
    [
      "legacy-forward",
      facts({
        rules: {
          ...facts().rules,
          legacy: [
            {
              family: 4,
              program: "iptables-legacy",
              forward: "-P FORWARD DROP\n-A FORWARD -s 10.244.0.0/16 -j ACCEPT\n",
            },
          ],
        },
      }),
      /FORWARD drops/,
      "iptables-legacy -I FORWARD -d 10.244.0.0/16 -j ACCEPT",
    ],
    [
      "network-manager",
      facts({ networkManager: { isRunning: true, unmanaged: ["eth*", "flannel*"] } }),
      /does not exclude cni0/,
      "mkdir -p /etc/NetworkManager/conf.d && printf '[keyfile]\\nunmanaged-devices+=interface-name:cni0;interface-name:flannel*;interface-name:weft*;interface-name:veth*\\n' >/etc/NetworkManager/conf.d/50-weft.conf && nmcli general reload",
    ],
    [
      "pod-rules",
      facts({
        podRules: {
          missing: [
            { owner: "cni:net/c1/eth0", part: "portmap" },
            { owner: "cni:net/c1/eth0", part: "masquerade" },
          ],
          obstacles: [],
          unchecked: [],
          unknown: [],
        },
      }),
      /rules of running pods: container c1, interface eth0, network net \(portmap, masquerade\)$/,
      "/opt/cni/bin/weft restore",
    ],
    [
      "service-kernel",
      facts(served({ missingOptions: ["NFT_NUMGEN", "NFT_FIB_INET"] })),
      /without CONFIG_NFT_NUMGEN, CONFIG_NFT_FIB_INET/,
      undefined,
    ],
    [
      "services-sync",
      facts(inState({ lastSync: { agoMs: 1, durationMs: 1, error: "no buffer space" } })),
      /failed to program Services: no buffer space/,
      undefined,
    ],
    ["services-sync", facts(inState({ isSynced: false })), /waiting for the lists of Services/, undefined],
    ["services-sync", facts(served({ hasTable: false })), /table inet weft-services is missing/, undefined],
    [
      "stale-services",
      facts({ services: { ...NO_SERVICES, hasTable: true } }),
      /exists, but weftd has --service-proxy none/,
      "/opt/cni/bin/weft cleanup --services",
    ],
    [
      "stale-services",
      facts(inState({ isOurs: false })),
      /exists, but weftd is waiting for the process on kube-proxy's health port to end/,
      "/opt/cni/bin/weft cleanup --services",
    ],
    ["kube-proxy", facts(served({ proxies: ["4711"] })), /kube-proxy runs \(process 4711\)/, undefined],
    [
      "kube-proxy",
      facts(
        served({
          hasTable: false,
          isHealthPortTaken: true,
          page: { ...PAGE, state: { ...PAGE.state, isOurs: false } },
        }),
      ),
      /127\.0\.0\.1:10256 is in use by another process/,
      "ss -ltnp sport = :10256",
    ],
    ["kube-proxy", facts(served({ proxyRules: ["table ip kube-proxy"] })), /left: table ip kube-proxy/, undefined],
    [
      "service-ranges",
      facts(
        paged({ node: { ...(PAGE.node as NonNullable<ServicesPage["node"]>), serviceRanges: ["10.244.128.0/20"] } }),
      ),
      /ClusterIPs 10\.244\.128\.0\/20 overlaps the pods' network 10\.244\.0\.0\/16/,
      undefined,
    ],
    [
      "service-room",
      facts(served({ processors: 64 }), { "net.netfilter.nf_conntrack_max": "262144" }),
      /nf_conntrack_max is 262144/,
      "sysctl -w net.netfilter.nf_conntrack_max=2097152",
    ],
    [
      "service-claims",
      facts(
        paged({
          services: [
            { service: "a/web", lost: [{ ...placed("203.0.113.7"), winner: "b/older", winnerKind: "ExternalIP" }] },
            { service: "a/api", refused: [{ ...placed("127.0.0.1"), reason: "the address is loopback" }] },
          ],
        }),
      ),
      /a\/web does not get 203\.0\.113\.7:80\/tcp, which belongs to b\/older; a\/api is not allowed to use 127\.0\.0\.1:80\/tcp: the address is loopback/,
      "/opt/cni/bin/weft services --no-endpoints",
    ],
    [
      "external-ips",
      facts(
        paged({
          node: { ...(PAGE.node as NonNullable<ServicesPage["node"]>), externalIPs: "all" },
          services: [{ service: "a/web", frontends: [{ ...placed("203.0.113.7"), policy: "cluster" }] }],
        }),
      ),
      /--external-ips all, and these Services have externalIPs: a\/web/,
      undefined,
    ],
    [
      "room",
      facts({ rooms: [{ path: "/var/lib/cni", room: { bytes: 0, freeBytes: 0, inodes: 100, freeInodes: 0 } }] }),
      /0 of 100 inodes left/,
      undefined,
    ],
  ];
  test.each(cases)("%s", (check, given, seen, run) => {
    const findings = judgeAll(CHECKS, given);
    expect([...new Set(findings.map((finding) => finding.check))], JSON.stringify(findings)).toEqual([check]);
    expect(findings[0]?.seen).toMatch(seen);
    expect(findings[0]?.run).toBe(run);
    expect(findings[0]?.run ?? findings[0]?.advice).toBeTruthy();
  });
});

test("a VTEP that peers may still use is not reported until the node table drops it", () => {
  const kept = (vtepMacs: object) => {
    const table = tableOf(HOST_GW, undefined, vtepMacs);
    const local = Uint8Array.of(192, 0, 2, 1);
    const vxlan = { vni: 1, port: 8472, link: 2, learning: 0, local };
    const links = [
      link(2, "eth0"),
      link(4, "flannel.1", { ...{ kind: "vxlan", alias: "weft:vtep", mtu: 1450, mac: "02:00:00:00:00:07", vxlan } }),
    ];
    const prefix = parsePrefix("10.244.1.0/32");
    const addresses = [{ index: 4, prefix, scope: 0, isTentative: false, isDuplicate: false }];
    const seen = { ...facts().observed, links, addresses };
    return judgeAll(CHECKS, facts({ table, observed: seen, desired: desireOf(table, seen) }));
  };
  expect(kept({ "flannel.1": "02:00:00:00:00:07" })).toEqual([]);
  expect(kept({})).toMatchObject([{ check: "data-path", severity: "error", run: expect.stringContaining("link del") }]);
});

test("a configuration that weft's plugins reject is an error if the runtime uses it, else a warning", () => {
  const complaint = (file: string) => ({ file, plugin: "portmap", text: "portmap: snat: expected a boolean" });
  const complaints = [complaint("05-weft.conflist"), complaint("87-other.conflist")];
  const found = judgeAll(CHECKS, facts({ complaints }));
  expect(found).toMatchObject([
    { check: "conflist-accepted", severity: "error", seen: expect.stringContaining("05-weft.conflist: portmap: snat") },
    { check: "conflist-accepted", severity: "warning", seen: expect.stringContaining("87-other.conflist: portmap") },
  ]);
});

test("a pods' bridge without pods is reported as unused, not as another program's route", () => {
  const left = {
    links: [link(2, "eth0"), link(3, "cni0", { kind: "bridge" })],
    addresses: [{ index: 3, prefix: parsePrefix("10.244.1.1/24"), scope: 0, isTentative: false, isDuplicate: false }],
    routes: [
      {
        destination: parsePrefix("10.244.1.0/24"),
        ...{ protocol: 2, outputIndex: 3, table: 254, scope: 253, type: 1, isMultipath: false },
      },
    ],
  };
  const at = (plugin: "bridge" | "ptp") => {
    const attachment = { ...facts().attachment, plugin, bridge: plugin === "bridge" ? "cni0" : undefined };
    return judgeAll(CHECKS, facts({ ...observed(left), attachment }));
  };
  expect(at("ptp")).toMatchObject([{ check: "pod-kinds", severity: "warning", run: "ip link del cni0" }]);
  expect(at("bridge")).toEqual([]);
});

test("reports pods whose rules cannot be restored, and pods without a result only if rules are missing", () => {
  const obstacles = [{ owner: "cni:net/c1/eth0", part: "portmap" as const, reason: "another pod has the port" }];
  const unknown = ["cni:net/c2/eth0"];
  expect(judgeAll(CHECKS, facts({ podRules: { missing: [], obstacles: [], unchecked: [], unknown } }))).toEqual([]);
  expect(judgeAll(CHECKS, facts({ podRules: { missing: [], obstacles, unchecked: [], unknown } }))).toMatchObject([
    {
      severity: "error",
      seen: expect.stringMatching(/c1.*portmap.*another pod has the port$/),
      advice: "restart the pod",
    },
    { severity: "warning", seen: "the runtime has no cached result for container c2, interface eth0, network net" },
  ]);
});

test("rules that cannot be checked are a warning", () => {
  const unchecked = [{ owner: "cni:net/c1/eth0", part: "portmap" as const, reason: "conditionsV4: unknown word" }];
  expect(judgeAll(CHECKS, facts({ podRules: { missing: [], obstacles: [], unchecked, unknown: [] } }))).toMatchObject([
    {
      severity: "warning",
      seen: expect.stringMatching(/c1.* \(portmap\) cannot be checked: conditionsV4/),
      advice: "if host ports do not answer, restart the pod",
    },
  ]);
});

test("a nearly full connection table is a warning, a full one an error", () => {
  const at = (count: string) =>
    judgeAll(CHECKS, facts({}, { "net.netfilter.nf_conntrack_count": count, "net.netfilter.nf_conntrack_max": "100" }));
  expect(at("89")).toEqual([]);
  expect(at("90")).toMatchObject([{ severity: "warning" }]);
  expect(at("100")).toMatchObject([{ severity: "error" }]);
});

describe("other programs' settings", () => {
  function withFiles(files: Readonly<Record<string, string>>): FakeSystem {
    const system = new FakeSystem();
    for (const [path, text] of Object.entries(files)) {
      system.makeDirectory(path.slice(0, path.lastIndexOf("/")));
      system.writeFile(path, bytes(text));
    }
    return system;
  }

  test("networkd: a drop-in overrides the main file, and the first folder with a drop-in's name wins", () => {
    const running = { "/run/systemd/netif/links/2": "" };
    expect(readNetworkd(withFiles({}))).toMatchObject({ isRunning: false });
    expect(readNetworkd(withFiles(running))).toEqual({
      isRunning: true,
      managesForeignRoutes: true,
      managesForeignRules: true,
    });
    const told = {
      ...running,
      "/etc/systemd/networkd.conf": "[Network]\nManageForeignRoutes=yes\n#ManageForeignRoutingPolicyRules=no\n",
      "/etc/systemd/networkd.conf.d/50-a.conf": "[Network]\nManageForeignRoutes = no\n",
      "/usr/lib/systemd/networkd.conf.d/50-a.conf": "[Network]\nManageForeignRoutingPolicyRules=no\n",
    };
    expect(readNetworkd(withFiles(told))).toEqual({
      isRunning: true,
      managesForeignRoutes: false,
      managesForeignRules: true,
    });
  });

  test("NetworkManager: uses the patterns of all files", () => {
    const told = {
      "/run/NetworkManager/devices/2": "",
      "/etc/NetworkManager/NetworkManager.conf":
        "[keyfile]\nunmanaged-devices=interface-name:cni*;mac:02:00:00:00:00:01\n",
      "/etc/NetworkManager/conf.d/10-a.conf": "[keyfile]\nunmanaged-devices+=flannel.1,interface-name:veth*\n",
    };
    expect(readNetworkManager(withFiles(told))).toEqual({ isRunning: true, unmanaged: ["cni*", "flannel.1", "veth*"] });
  });
});

test("advises to keep the gateway of pods outside the subnets while they run", () => {
  const [finding] = judgeAll(CHECKS, facts(OUTSIDE));
  expect(finding).toMatchObject({ advice: expect.stringContaining("until then, leave 10.244.9.1 on cni0") });
});
