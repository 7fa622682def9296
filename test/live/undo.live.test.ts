/**
 * `weft install --undo` on a node with pods that weft attached: the reference plugins serve them afterwards.
 *
 * Longer than 400 lines: half of it is the node that all cases share.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { makeFolder } from "./harness/folder.ts";
import type { Inside } from "./harness/inside.ts";
import { type Namespace, removeNamespace } from "./harness/namespace.ts";
import { type Answer, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

type Backend = "iptables" | "nftables";
type Json = Record<string, unknown>;

interface Port {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
  readonly hostIP?: string;
}

interface Pod {
  readonly id: string;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly backend: Backend;
  readonly ports: readonly Port[];
  readonly result: { readonly ips: readonly { readonly address: string }[] };
}

const UPLINK = { 4: "198.51.100.1", 6: "2001:db8:51::1" } as const;
const OUTSIDE = { 4: "198.51.100.2", 6: "2001:db8:51::2" } as const;
const FAMILIES = [4, 6] as const;
const [SERVER, ECHO, OUTSIDE_PORT] = [80, 81, 8000];

let bed: PluginBed;
let outside: Inside;
let bin: string;
/** The runtime's PATH. */
let searchPath: string;
/**
 * The third number of the pods' addresses: 10.NUMBER.0.0/24 and fd00:NUMBER::/64; the next number is for networks of
 * nftables.
 */
let subnet: number;
const cleanup = new Cleanup();

beforeEach(async () => {
  bed = await PluginBed.make();
  subnet = 22;
  more = {};
  searchPath = "/usr/sbin:/usr/bin:/sbin:/bin";
  const peer = await bed.anotherPod("outside");
  outside = peer.inside;
  const script = "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done";
  for (const side of [bed.node, outside]) await side.succeed("sh", ["-c", script]);
  const ends = ["type", "veth", "peer", "name", "eth0", "netns", peer.namespace.name];
  await bed.node.succeed("ip", ["link", "add", "uplink", ...ends]);
  await bed.node.succeed("ip", ["link", "set", "uplink", "up"]);
  await outside.succeed("ip", ["link", "set", "eth0", "up"]);
  for (const of of FAMILIES) {
    const length = of === 4 ? 24 : 64;
    await bed.node.succeed("ip", ["address", "add", `${UPLINK[of]}/${length}`, "dev", "uplink"]);
    await outside.succeed("ip", ["address", "add", `${OUTSIDE[of]}/${length}`, "dev", "eth0"]);
  }
  await outside.listen(OUTSIDE_PORT);
  bin = `${makeFolder("undo", cleanup)}/bin`;
  cpSync(realpathSync(REFERENCE), bin, { recursive: true });
  await bed.node.succeed(`${OURS}/weft`, ["install", bin]);
});
afterEach(async () => {
  await bed.close();
  await cleanup.run();
});

const numberOf = (backend: Backend) => subnet + (backend === "nftables" ? 1 : 0);
const bridgeOf = (backend: Backend) => `cni${numberOf(backend) - subnet}`;

/** Additional keys of plugins, by type, in all chains. */
let more: Readonly<Record<string, Json>>;

const conflist = (backend: Backend) => ({
  cniVersion: "1.0.0",
  name: `net-${backend}`,
  plugins: [
    {
      ...{ type: "bridge", bridge: bridgeOf(backend), isDefaultGateway: true, hairpinMode: true, ipMasq: true },
      ...{ macspoofchk: true, ...(backend === "nftables" ? { ipMasqBackend: backend } : {}) },
      ipam: {
        ...{ type: "host-local", dataDir: `${bed.stateDir}/networks` },
        ranges: [[{ subnet: `10.${numberOf(backend)}.0.0/24` }], [{ subnet: `fd00:${numberOf(backend)}::/64` }]],
      },
    },
    { type: "portmap", ...(backend === "nftables" ? { backend } : {}), capabilities: { portMappings: true } },
    { type: "firewall", ingressPolicy: "same-bridge" },
    {
      type: "bandwidth",
      ingressRate: 100_000_000,
      ingressBurst: 10_000_000,
      egressRate: 100_000_000,
      egressBurst: 1e7,
    },
    { type: "tuning", sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" }, dataDir: `${bed.stateDir}/tuning` },
  ].map((plugin) => ({ ...plugin, ...more[plugin.type] })),
});

/** The plugins of a pod's chain, as the runtime calls them. */
const pluginsOf = (backend: Backend, ports: readonly Port[]): (Json & { type: string })[] => {
  const { plugins, ...network } = conflist(backend);
  return plugins.map((plugin) => ({
    ...plugin,
    ...network,
    plugins: undefined,
    ...(plugin.type === "portmap" ? { runtimeConfig: { portMappings: ports } } : {}),
  }));
};

const callIn = (pod: Pick<Pod, "id" | "namespace">, plugin: Json & { type: string }, verb: string): Promise<Answer> =>
  bed.call(bin, plugin.type, verb, plugin, {
    env: {
      ...{ CNI_COMMAND: verb, CNI_CONTAINERID: pod.id, CNI_NETNS: pod.namespace.path, CNI_IFNAME: "eth0" },
      ...{ CNI_PATH: bin, PATH: searchPath },
    },
  });

async function attach(backend: Backend, id: string, ports: readonly Port[], isCached = true): Promise<Pod> {
  const { namespace, inside } = await bed.anotherPod(id);
  let prevResult: Pod["result"] | undefined;
  for (const plugin of pluginsOf(backend, ports)) {
    const answer = await callIn({ id, namespace }, { ...plugin, prevResult }, "ADD");
    expect(answer, `ADD of ${plugin.type}: ${answer.output}`).toMatchObject({ status: 0 });
    prevResult = answer.json;
  }
  const result = prevResult as Pod["result"];
  if (isCached) remember(backend, { id, namespace, ports, result });
  await inside.listen(SERVER);
  await inside.listen(SERVER, "udp");
  await inside.echo(ECHO);
  return { id, namespace, inside, backend, ports, result };
}

/** Writes the result as libcni does. */
function remember(backend: Backend, { id, namespace, ports, result }: Omit<Pod, "inside" | "backend">): void {
  const network = conflist(backend);
  mkdirSync(`${bed.stateDir}/results`, { recursive: true });
  const cached = {
    ...{ kind: "cniCacheV1", containerId: id, ifName: "eth0", networkName: network.name, netns: namespace.path },
    ...{
      config: Buffer.from(JSON.stringify(network)).toString("base64"),
      capabilityArgs: { portMappings: ports },
      result,
    },
  };
  writeFileSync(`${bed.stateDir}/results/${network.name}-${id}-eth0`, JSON.stringify(cached));
}

const tcp = (hostPort: number, containerPort = SERVER, hostIP?: string): Port => ({
  ...{ hostPort, containerPort, protocol: "tcp" },
  ...(hostIP === undefined ? {} : { hostIP }),
});

const undo = (...words: string[]) =>
  bed.node.run(`${OURS}/weft`, ["install", bin, "--undo", "--cni-conf-dir", bin, ...words]);

async function expectTraffic(pods: readonly Pod[]): Promise<void> {
  for (const { inside, ports, id } of pods) {
    for (const of of FAMILIES) {
      expect(await inside.seenBy(OUTSIDE[of], OUTSIDE_PORT), `${id} to outside`).toBe(UPLINK[of]);
      for (const { hostPort, protocol, containerPort, hostIP = UPLINK[of] } of ports) {
        if (hostIP !== UPLINK[of] || containerPort === ECHO) continue;
        const transport = protocol === "udp" ? "udp" : "tcp";
        expect(await outside.seenBy(UPLINK[of], hostPort, { transport }), `${id}: ${hostPort}`).toBe(OUTSIDE[of]);
      }
    }
    for (const { hostPort, protocol, containerPort, hostIP } of ports) {
      if (protocol !== "tcp" || containerPort === ECHO || hostIP !== undefined) continue;
      // From the node's loopback address, and from the pod to itself.
      expect(await bed.node.seenBy("127.0.0.1", hostPort)).toMatch(/^10\.\d+\.0\.1$/);
      expect(await inside.seenBy(UPLINK[4], hostPort)).toMatch(/^(10\.\d+\.0\.1|198\.51\.100\.1)$/);
    }
  }
}

/** Expects CHECK and then DEL of every plugin to succeed, once each. */
async function expectReference(pods: readonly Pod[]): Promise<void> {
  for (const pod of pods) {
    for (const plugin of pluginsOf(pod.backend, pod.ports)) {
      const answer = await callIn(pod, { ...plugin, prevResult: pod.result }, "CHECK");
      expect(answer, `CHECK of ${plugin.type} for ${pod.id}: ${answer.output}`).toMatchObject({ status: 0 });
    }
  }
  for (const pod of pods) {
    for (const plugin of pluginsOf(pod.backend, pod.ports).reverse()) {
      const answer = await callIn(pod, { ...plugin, prevResult: pod.result }, "DEL");
      expect(answer, `DEL of ${plugin.type} for ${pod.id}: ${answer.output}`).toMatchObject({ status: 0 });
    }
  }
}

/** With ipMasqBackend nftables the reference's first DEL of its own pod fails at a chain that iptables lacks. */
async function deleteOwnPod(pod: Pod): Promise<void> {
  for (const plugin of pluginsOf(pod.backend, pod.ports).reverse()) {
    const del = () => callIn(pod, { ...plugin, prevResult: pod.result }, "DEL");
    const { status } = await del();
    if (status !== 0) expect(await del()).toMatchObject({ status: 0 });
  }
}

/** Rules that name a pod, its devices or its addresses, weft's tables, and other objects of pods. */
async function leftOf(pods: readonly Pod[]): Promise<unknown> {
  const ruleset = await bed.node.succeed("nft", ["-s", "list", "ruleset"]);
  const names = pods.flatMap(({ id, result }) => [
    ...[id, ...result.ips.map(({ address }) => address.replace(/\/.*/, ""))],
  ]);
  const isOfPods = (line: string) =>
    /CNI-(DN-)?[0-9a-f]{10}|veth|table inet weft_|table bridge weft_/.test(line) ||
    names.some((name) => new RegExp(`(?<![\\w.: ])${name}(?![\\w.:])|(addr|to) ${name}(?![\\w.])`).test(line));
  const links = await bed.node.json<{ ifname: string }[]>("ip", ["-j", "link", "show"]);
  const networks = `${bed.stateDir}/networks`;
  return {
    rules: ruleset.split("\n").filter(isOfPods),
    links: links.map(({ ifname }) => ifname.replace(/^cni[01]$/, "bridge")).sort(),
    reserved: readdirSync(networks, { recursive: true, encoding: "utf8" }).filter((name) => /\/(10\.|fd00)/.test(name)),
    tuned: existsSync(`${bed.stateDir}/tuning`) ? readdirSync(`${bed.stateDir}/tuning`) : [],
  };
}

const NOTHING = { rules: [], links: ["bridge", "lo", "uplink"], reserved: [], tuned: [] };

const weftTables = async () =>
  (await bed.node.succeed("nft", ["list", "tables"])).split("\n").filter((line) => line.includes("weft_"));

/** Opens connections one after another while `work` runs. Returns how many were answered. */
async function connectWhile(work: () => Promise<unknown>, ports: readonly number[]): Promise<number> {
  let isOver = false;
  let answered = 0;
  const callers = ports.flatMap((port) =>
    FAMILIES.map(async (of) => {
      while (!isOver) {
        expect(await outside.seenBy(UPLINK[of], port)).toBe(OUTSIDE[of]);
        answered++;
      }
    }),
  );
  try {
    await work();
  } finally {
    isOver = true;
    await Promise.all(callers);
  }
  return answered;
}

describe.each<Backend>(["iptables", "nftables"])("with %s", (backend) => {
  test("pods keep their connections, and the reference checks and deletes them without a trace", async () => {
    const pods = [
      await attach(backend, "many", [
        ...[tcp(8081), tcp(8181, ECHO), { hostPort: 5353, containerPort: SERVER, protocol: "udp" }],
        ...[tcp(8090, SERVER, UPLINK[4]), tcp(8091, SERVER, UPLINK[6])],
      ]),
      await attach(backend, "one", [tcp(8082)]),
      await attach(backend, "none", []),
    ];
    await expectTraffic(pods);
    expect(await weftTables()).toHaveLength(4);

    const planned = await undo("--dry-run");
    expect(planned).toMatchObject({ status: 0, stderr: "" });
    expect(planned.stdout).toMatch(/mv .*\.weft-replaced\/bridge/);
    expect(await weftTables()).toHaveLength(4);

    const talks = FAMILIES.map((of) => outside.converse(UPLINK[of], 8181, 3000, 10));
    let done = planned;
    const answered = await connectWhile(async () => {
      done = await undo();
    }, [8081, 8082]);
    expect(done).toMatchObject({ status: 0, stderr: "" });
    expect(done.stdout).not.toMatch(/^(Failed|Left in place):/m);
    expect(answered).toBeGreaterThan(4);
    for (const { sent, echoed } of await Promise.all(talks)) {
      expect(sent).toBeGreaterThan(50);
      expect(echoed).toBe(sent);
    }
    expect(await weftTables()).toEqual([]);
    for (const name of readdirSync(REFERENCE)) {
      expect(readFileSync(`${bin}/${name}`).equals(readFileSync(`${REFERENCE}/${name}`)), name).toBe(true);
    }
    expect(readdirSync(bin).sort()).toEqual(readdirSync(REFERENCE).sort());

    await expectTraffic(pods);
    const young = await attach(backend, "young", [tcp(8083)]);
    await expectTraffic([...pods, young]);
    await expectReference(pods);
    await deleteOwnPod(young);
    expect(await leftOf([...pods, young])).toEqual(NOTHING);
  });

  test("a second call changes nothing", async () => {
    const pods = [await attach(backend, "one", [tcp(8082)])];
    expect(await undo()).toMatchObject({ status: 0 });
    const before = await bed.node.succeed("nft", ["-s", "-a", "list", "ruleset"]);
    const again = await undo();
    expect(again).toMatchObject({ status: 0 });
    expect(again.stdout).toMatch(/nothing to do\.\n$/);
    expect(await bed.node.succeed("nft", ["-s", "-a", "list", "ruleset"])).toBe(before);
    await expectReference(pods);
  });
});

test("without the runtime's cache, the tables have enough information", async () => {
  const ports = [tcp(8081), tcp(8090, SERVER, UPLINK[4]), { hostPort: 5353, containerPort: SERVER, protocol: "udp" }];
  const pods = [await attach("iptables", "lost1", ports, false), await attach("iptables", "lost2", [tcp(8082)], false)];
  const done = await undo();
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(done.stdout).toMatch(/^Left in place:\n {2}portmap of container lost1.*order of its ports is not known.*\n$/m);
  expect(await weftTables()).toEqual([]);
  await expectTraffic(pods);
  await expectReference(pods);
  expect(await leftOf(pods)).toEqual(NOTHING);
});

test("after a kill at any moment, the same call finishes the work", async () => {
  const pods = [await attach("iptables", "one", [tcp(8081)]), await attach("nftables", "two", [tcp(8082)])];
  const script = "$0 install $1 --undo --cni-conf-dir $1 & sleep $2; kill -9 $! 2>/dev/null; wait";
  for (const seconds of ["0.02", "0.05", "0.1", "0.15", "0.2", "0.3"]) {
    await bed.node.run("sh", ["-c", script, `${OURS}/weft`, bin, seconds]);
    await expectTraffic(pods);
  }
  expect(await undo()).toMatchObject({ status: 0, stderr: "" });
  expect(await weftTables()).toEqual([]);
  await expectTraffic(pods);
  await expectReference(pods);
  expect(await leftOf(pods)).toEqual({ ...NOTHING, links: ["bridge", ...NOTHING.links] });
});

test("a pod whose rules are rejected keeps weft's, is named, and does not affect other pods", async () => {
  const refused = await attach("iptables", "refused", [tcp(8081)]);
  const other = await attach("iptables", "other", [tcp(8082)]);
  const path = `${bed.stateDir}/results/net-iptables-refused-eth0`;
  const cached = JSON.parse(readFileSync(path, "utf8")) as { config: string };
  const network = JSON.parse(Buffer.from(cached.config, "base64").toString()) as { plugins: Json[] };
  Object.assign(network.plugins[1] ?? {}, { externalSetMarkChain: "NOT-THERE" });
  const config = Buffer.from(JSON.stringify(network)).toString("base64");
  writeFileSync(path, JSON.stringify({ ...cached, config }));
  const done = await undo();
  expect(done).toMatchObject({ status: 1 });
  expect(done.stdout).toMatch(
    /^Failed:\n {2}portmap of container refused, interface eth0, network net-iptables: .*NOT-THERE/m,
  );
  expect(done.stdout).not.toContain("container other");
  expect(await weftTables()).toEqual(["table inet weft_portmap"]);
  await expectTraffic([refused, other]);
  await expectReference([other]);

  writeFileSync(path, JSON.stringify(cached));
  expect(await undo()).toMatchObject({ status: 0 });
  expect(await weftTables()).toEqual([]);
  await expectTraffic([refused]);
  await expectReference([refused]);
  expect(await leftOf([refused, other])).toEqual(NOTHING);
});

test("plugins in use that replaced no file stay, and their pods are unchanged", async () => {
  const pod = await attach("iptables", "one", [tcp(8081)]);
  rmSync(`${bin}/.weft-replaced/portmap`);
  const confDir = makeFolder("net.d", cleanup);
  const chained = { cniVersion: "1.0.0", name: "overlay", plugins: [{ type: "ptp" }, { type: "vxlan" }] };
  writeFileSync(`${confDir}/10-overlay.conflist`, JSON.stringify(chained));
  const done = await undo("--cni-conf-dir", confDir, "-o", "json");
  expect(done).toMatchObject({ status: 0 });
  const { kept, removed, left } = JSON.parse(done.stdout) as { kept: string[]; removed: string[]; left: string[] };
  expect(kept.sort()).toEqual(["portmap", "vxlan", "weft"]);
  expect(removed).toContain("host-gw");
  expect(left.join("\n")).toMatch(/portmap of container one.*no other program's portmap replaces weft's/);
  expect(await weftTables()).toEqual(["table inet weft_portmap"]);
  await expectTraffic([pod]);
  await expectReference([pod]);
  expect(await leftOf([pod])).toEqual({ ...NOTHING, rules: ["table inet weft_portmap {"] });
});

test("elements of a deleted pod are removed without replacement", async () => {
  // An address of a running pod would be found in any of the machine's namespaces; no other test uses these addresses.
  subnet = 217;
  const gone = await attach("iptables", "gone", [tcp(8081)]);
  const pod = await attach("iptables", "one", [tcp(8082)]);
  await gone.inside.close();
  await removeNamespace(gone.namespace.name);
  await bed.node.succeed("sh", ["-c", "until [ $(ip -o link | grep -c veth) = 1 ]; do sleep 0.05; done"]);
  const done = await undo();
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(await weftTables()).toEqual([]);
  expect(await bed.node.succeed("iptables-save", [])).not.toContain("8081");
  await expectTraffic([pod]);
  await expectReference([pod]);
});

test("if the host's iptables is the legacy one, the rules are written to its tables", async () => {
  const pods = [await attach("iptables", "one", [tcp(8081), tcp(8082, ECHO)]), await attach("iptables", "two", [])];
  const folder = `${bed.stateDir}/legacy`;
  const link =
    "mkdir $0; for name in iptables ip6tables; do for end in '' -save -restore; do ln -s /usr/sbin/$name-legacy$end $0/$name$end; done; done";
  await bed.node.succeed("sh", ["-c", link, folder]);
  searchPath = `${folder}:${searchPath}`;
  const done = await bed.node.run(`${OURS}/weft`, ["install", bin, "--undo", "--cni-conf-dir", bin], "", {
    PATH: searchPath,
  });
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(await weftTables()).toEqual([]);
  expect(await bed.node.succeed("iptables-legacy-save", ["-t", "nat"])).toMatch(/--dport 8081 -j DNAT/);
  await expectTraffic(pods);
  await expectReference(pods);
  expect(await bed.node.succeed("iptables-legacy-save", [])).not.toMatch(/8081|10\.22\.0\.\d\//);
});

test.each([
  [["--only", "bridge"], 2, /--undo cannot be combined with --only/],
  [["--keep-existing"], 2, /--undo cannot be combined/],
])("rejects %j with --undo", async (words, status, message) => {
  const done = await undo(...words);
  expect(done).toMatchObject({ status, stdout: "", stderr: expect.stringMatching(message) });
  expect(readdirSync(`${bin}/.weft-replaced`)).toContain("bridge");
});

/** Devices, their addresses and the order of chains differ in each run; the reference adds comments to its tables. */
async function writtenRules(): Promise<string[]> {
  const saved = await Promise.all(["iptables-save", "ip6tables-save"].map((name) => bed.node.succeed(name, [])));
  const tables = ["inet cni_plugins_masquerade", "ip cni_hostport", "ip6 cni_hostport", "bridge nat"];
  const listed = await Promise.all(
    tables.map((table) =>
      bed.node.run("nft", ["-s", "list", "table", ...table.split(" ")]).then(({ stdout }) => stdout),
    ),
  );
  return [...saved, ...listed].flatMap((text) =>
    text
      .split("\n")
      .filter((line) => !/^#|^\s*comment "|^:.*(ACCEPT|DROP)|^(\*|COMMIT)|^:CNI-[0-9a-f]{24} /.test(line))
      .map((line) => line.replace(/veth[0-9a-f]{8}/g, "VETH").replace(/ether saddr [0-9a-f:]{17}/g, "ether saddr MAC"))
      .map((line) => line.trim()),
  );
}

describe.each<[string, Backend, Record<string, Json>]>([
  ["in their default form", "iptables", {}],
  ["in their default form", "nftables", {}],
  [
    "with conditions and a mark",
    "iptables",
    {
      portmap: {
        ...{ backend: "iptables", markMasqBit: 31, masqAll: true },
        ...{ conditionsV4: ["-s", "198.51.100.0/24"], conditionsV6: ["!", "-s", "2001:db8:99::/64"] },
      },
      firewall: { ingressPolicy: "isolated", iptablesAdminChainName: "SITE-RULES" },
    },
  ],
  [
    "with conditions",
    "nftables",
    { portmap: { backend: "nftables", conditionsV4: ["ip", "saddr", "198.51.100.0/24"] } },
  ],
  ["without snat", "iptables", { portmap: { snat: false }, firewall: { ingressPolicy: "open" } }],
  ["without snat", "nftables", { portmap: { backend: "nftables", snat: false } }],
])("pods %s, with %s", (_name, backend, keys) => {
  test("get the rules that the reference would have made", async () => {
    more = keys;
    const ports = [
      ...[tcp(8081), { hostPort: 5353, containerPort: SERVER, protocol: "udp" }, tcp(8090, SERVER, UPLINK[4])],
      ...[tcp(8091, SERVER, UPLINK[6]), tcp(8092, SERVER, "0.0.0.0")],
      ...Array.from({ length: 16 }, (_, at) => tcp(9100 - at)),
    ];
    const ours = bin;
    bin = realpathSync(REFERENCE);
    const theirs = [await attach(backend, "one", ports), await attach(backend, "two", [tcp(8082)])];
    const wanted = await writtenRules();
    expect(wanted.length).toBeGreaterThan(30);
    for (const pod of theirs) {
      await deleteOwnPod(pod);
      await pod.inside.close();
      await removeNamespace(pod.namespace.name);
    }
    await bed.node.succeed("nft", ["flush", "ruleset"]);
    rmSync(`${bed.stateDir}/networks`, { recursive: true });

    bin = ours;
    const pods = [await attach(backend, "one", ports), await attach(backend, "two", [tcp(8082)])];
    expect(await undo()).toMatchObject({ status: 0, stderr: "" });
    expect((await writtenRules()).sort()).toEqual(wanted.sort());
    await expectReference(pods);
    expect(await leftOf(pods)).toEqual(NOTHING);
  });
});

test("guards of senders are removed, since the reference plugins would leave a pod's elements", async () => {
  await attach("nftables", "one", []);
  await bed.node.succeed("nft", ["add table inet weft-senders; add table bridge weft-senders; add table inet site"]);
  const done = await undo();
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(done.stdout).toContain("nft delete table inet weft-senders\n");
  const tables = await bed.node.succeed("nft", ["list", "tables"]);
  expect(tables).toContain("table inet site");
  expect(tables).not.toContain("weft-senders");
});

test("rules in another program's chain that drops unknown packets stay, and are named", async () => {
  const chain = "add chain inet site gate { type filter hook forward priority 5; policy drop; }";
  await bed.node.succeed("nft", [`add table inet site; ${chain}`]);
  const pod = await attach("iptables", "one", [tcp(8081)]);
  const done = await undo();
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(done.stdout).toMatch(
    /^Left in place:\n {2}the rule of container one, interface eth0, network net-iptables in inet site gate.*nft delete rule inet site gate handle \d+$/m,
  );
  await expectReference([pod]);
});

test("bandwidth limits for some subnets only are named, since the reference's CHECK does not support them", async () => {
  more = { bandwidth: { shapedSubnets: ["198.51.100.0/24"] } };
  await attach("iptables", "one", []);
  const done = await undo();
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(done.stdout).toMatch(/bandwidth of container one.*without shapedSubnets fails; .*ip link del bwi[0-9a-f]+$/m);
});
