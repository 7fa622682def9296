/**
 * `nft flush ruleset` while pods run (a restart of Debian's nftables.service): weftd restores the rules that the
 * executables wrote for the pods, without touching the pods. If no weftd runs, `weft restore` does.
 *
 * Longer than 400 lines: half of it is the node that all cases share.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN } from "./harness/cluster.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside, withState } from "./harness/inside.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";

type Json = Record<string, unknown>;

interface Pod {
  readonly id: string;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly ports: readonly Json[];
  readonly result: unknown;
}

const FAMILIES = [4, 6] as const;
const NODE = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;
const OUTSIDE = { 4: "192.0.2.9", 6: "2001:db8::9" } as const;
const [SERVER, LATER, OUTSIDE_PORT] = [80, 81, 8000];
const SILENCE_MS = 400 * PATIENCE;
const NETWORK = "restored";

let cleanup: Cleanup;
let folder: string;
let namespace: Namespace;
let node: Inside;
let outside: Inside;
let weftd: Running | undefined;

const withoutDad = (inside: Inside) =>
  inside.succeed("sh", ["-c", "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done"]);

beforeEach(async () => {
  cleanup = new Cleanup();
  folder = makeFolder("restored", cleanup);
  for (const part of ["net.d", "run", "state/results"]) mkdirSync(`${folder}/${part}`, { recursive: true });
  namespace = await makeNamespace("restored-node", cleanup);
  const peer = await makeNamespace("restored-outside", cleanup);
  node = await Inside.enter(namespace, cleanup, `${folder}/state`);
  outside = await Inside.enter(peer, cleanup);
  for (const side of [node, outside]) await withoutDad(side);
  await node.succeed("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer.name]);
  for (const [side, addresses] of [
    [node, NODE],
    [outside, OUTSIDE],
  ] as const) {
    await side.succeed("ip", ["link", "set", "eth0", "up"]);
    await side.succeed("ip", ["address", "add", `${addresses[4]}/24`, "dev", "eth0"]);
    await side.succeed("ip", ["address", "add", `${addresses[6]}/64`, "dev", "eth0"]);
  }
  await outside.listen(OUTSIDE_PORT);
  weftd = undefined;
});
afterEach(() => cleanup.run());

async function startWeftd(): Promise<Running> {
  writeFileSync(`${folder}/net-conf.json`, JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: "host-gw" } }));
  writeFileSync(
    `${folder}/nodes.yaml`,
    `nodes:\n  - name: n1\n    podCIDRs: [10.244.1.0/24]\n    addresses: [${NODE[4]}]\n`,
  );
  const [file = "", ...args] = withState(`${folder}/state`, [
    ...[`${BIN}/weftd`, "--nodes", `${folder}/nodes.yaml`, "--node-name", "n1"],
    ...["--net-conf", `${folder}/net-conf.json`, "--cni-conf-dir", `${folder}/net.d`, "--run-dir", `${folder}/run`],
  ]);
  const started = new Running(namespace, file, args, cleanup);
  weftd = started;
  await eventually(async () => {
    const { status } = await ask("/readyz");
    if (status !== 200) throw new Error(`not ready\n${started.output}`);
  }, 15_000);
  return started;
}

const ask = (path: string) => node.ask(`http://127.0.0.1:9468${path}`);

const conflist = {
  cniVersion: "1.0.0",
  name: NETWORK,
  plugins: [
    {
      ...{ type: "bridge", bridge: "cni9", isDefaultGateway: true, hairpinMode: true, ipMasq: true, macspoofchk: true },
      ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall", ingressPolicy: "same-bridge" },
  ],
};

type Plugin = Json & { readonly type: string };

const pluginsOf = ({ ports }: Pick<Pod, "ports">): Plugin[] => {
  const { plugins, ...network } = conflist;
  return plugins.map((plugin) => ({
    ...plugin,
    ...network,
    ...(plugin.type === "portmap" ? { runtimeConfig: { portMappings: ports } } : {}),
  }));
};

async function call(pod: Pick<Pod, "id" | "namespace">, plugin: Plugin, verb: string): Promise<unknown> {
  const { status, stdout, stderr } = await node.run(`${BIN}/${plugin.type}`, [], JSON.stringify(plugin), {
    ...{ CNI_COMMAND: verb, CNI_CONTAINERID: pod.id, CNI_NETNS: pod.namespace.path, CNI_IFNAME: "eth0" },
    ...{ CNI_PATH: BIN, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  expect(status, `${verb} of ${plugin.type} for ${pod.id}: ${stdout}${stderr}`).toBe(0);
  return stdout === "" ? undefined : JSON.parse(stdout);
}

const port = (hostPort: number, protocol = "tcp"): Json => ({ hostPort, containerPort: SERVER, protocol });
const resultPath = (id: string) => `${folder}/state/results/${NETWORK}-${id}-eth0`;

/** Writes the result as libcni does after ADD. */
function remember({ id, namespace: { path }, ports, result }: Omit<Pod, "inside">): void {
  const cached = {
    ...{ kind: "cniCacheV1", containerId: id, ifName: "eth0", networkName: NETWORK, netns: path, result },
    ...{ config: Buffer.from(JSON.stringify(conflist)).toString("base64"), capabilityArgs: { portMappings: ports } },
  };
  writeFileSync(resultPath(id), JSON.stringify(cached));
}

async function addPod(id: string, ports: readonly Json[], isRemembered = true): Promise<Pod> {
  const own = await makeNamespace(`restored-${id}`, cleanup);
  let prevResult: unknown;
  for (const plugin of pluginsOf({ ports })) {
    prevResult = await call({ id, namespace: own }, { ...plugin, ...(prevResult ? { prevResult } : {}) }, "ADD");
  }
  const inside = await Inside.enter(own, cleanup);
  for (const transport of ["tcp", "udp"] as const) await inside.listen(SERVER, transport);
  const pod = { id, namespace: own, inside, ports, result: prevResult };
  if (isRemembered) remember(pod);
  return pod;
}

async function removePod(pod: Pod): Promise<void> {
  for (const plugin of pluginsOf(pod).reverse()) await call(pod, { ...plugin, prevResult: pod.result }, "DEL");
  rmSync(resultPath(pod.id), { force: true });
}

/** Expects host ports to answer from outside and pods to have the node's address outside, in both families. */
async function expectTraffic(pod: Pod): Promise<void> {
  for (const of of FAMILIES) {
    expect(await pod.inside.seenBy(OUTSIDE[of], OUTSIDE_PORT), `${pod.id} to the outside`).toBe(NODE[of]);
    for (const { hostPort, protocol } of pod.ports) {
      const transport = protocol === "udp" ? "udp" : "tcp";
      expect(await outside.seenBy(NODE[of], Number(hostPort), { transport }), `${pod.id}: ${hostPort}`).toBe(
        OUTSIDE[of],
      );
    }
  }
}

const isSilent = (hostPort: number) =>
  expect(outside.seenBy(NODE[4], hostPort, { timeoutMs: SILENCE_MS })).rejects.toThrow();

/** Elements of weft's tables of attachments, as nft shows them: "table set element". */
async function elements(owner = ""): Promise<string[]> {
  const { nftables } = await node.json<{
    nftables: Record<"set" | "map", { table: string; name: string; elem?: unknown[] } | undefined>[];
  }>("nft", ["-j", "list", "ruleset"]);
  return nftables
    .flatMap(({ set, map }) => {
      const found = set ?? map;
      if (found === undefined || !found.table.startsWith("weft_") || found.name.startsWith("rule-handles")) return [];
      return (found.elem ?? []).map((element) => `${found.table} ${found.name} ${JSON.stringify(element)}`);
    })
    .filter((element) => element.includes(owner))
    .sort();
}

const flush = () => node.succeed("nft", ["flush", "ruleset"]);
const isBack = (wanted: readonly string[], owner?: string) =>
  eventually(async () => expect(await elements(owner)).toEqual(wanted));
const weft = (...args: string[]) => node.run(`${BIN}/weft`, args);
/** A change by another program that does not affect pods, but makes weftd check the tables. */
const stir = () => node.succeed("nft", ["add table ip stirred; delete table ip stirred"]);

/** Expects that the outside gets no frame of the pod under another hardware address. */
async function expectGuarded({ inside }: Pod): Promise<void> {
  await inside.succeed("ip", ["link", "set", "eth0", "address", "02:00:00:00:00:77"]);
  expect(await inside.pings("10.22.0.1", 1)).toBe(false);
}

describe("with weftd", () => {
  test("host ports, masquerade, spoof guard and firewall of running pods are restored", async () => {
    await startWeftd();
    const a = await addPod("a", [port(8080), port(8053, "udp")]);
    const b = await addPod("b", [port(8081)]);
    await expectTraffic(a);
    const before = await elements();
    expect(new Set(before.map((element) => element.split(" ")[0]))).toEqual(
      new Set(["weft_portmap", "weft_masquerade", "weft_macspoof", "weft_firewall"]),
    );
    await flush();
    await isBack(before);
    for (const pod of [a, b]) await expectTraffic(pod);
    await weftd?.says(/"attachments":2,.*restored rules of running pods that another program had removed/);
    const { body } = await ask("/metrics");
    expect(body).toContain('weft_repairs_total{kind="attachment"} 2');
    expect((await ask("/readyz")).body).not.toContain("pods' rules");
    // CHECK compares with what ADD made, and DEL finds all of it.
    for (const plugin of pluginsOf(a)) await call(a, { ...plugin, prevResult: a.result }, "CHECK");
    await expectGuarded(b);
    for (const pod of [a, b]) await removePod(pod);
    expect(await elements()).toEqual([]);
  });

  test("a deleted table is restored, and an intact one is not touched", async () => {
    await startWeftd();
    await addPod("a", [port(8080)]);
    const before = await elements();
    const handles = async () => (await node.succeed("nft", ["-a", "list", "tables"])).match(/inet weft_m.*/)?.[0];
    const handle = await handles();
    await node.succeed("nft", ["delete", "table", "inet", "weft_portmap"]);
    await isBack(before);
    expect(await handles()).toBe(handle);
  });

  test("rules flushed while no weftd ran are restored when it starts", async () => {
    const a = await addPod("a", [port(8080)]);
    const before = await elements();
    await flush();
    await startWeftd();
    await isBack(before);
    await expectTraffic(a);
  });

  test("a UDP client that keeps sending from one port gets answers again", async () => {
    const started = await startWeftd();
    const a = await addPod("a", [{ ...port(8053, "udp"), containerPort: LATER }]);
    const ask = (timeoutMs = SILENCE_MS) => outside.seenBy(NODE[4], 8053, { transport: "udp", from: 5353, timeoutMs });
    const before = await elements();
    started.signal("SIGSTOP");
    // Connections are tracked only while a rule needs it.
    const tracking = "table ip site { chain input { type filter hook input priority 0; ct state new counter; }; }";
    await node.succeed("sh", ["-c", `echo 'flush ruleset; ${tracking}' | nft -f -`]);
    // The node itself answers meanwhile; without a fix it would continue to.
    await node.listen(8053, "udp");
    expect(await ask()).toBe(OUTSIDE[4]);
    started.signal("SIGCONT");
    await isBack(before);
    await started.says(/restored rules of running pods that another program had removed/);
    await expect(ask()).rejects.toThrow();
    await a.inside.listen(LATER, "udp");
    expect(await ask(3000)).toBe(OUTSIDE[4]);
  });

  test("if the new rules drop unknown packets, pods are accepted as their ADD did it", async () => {
    await startWeftd();
    const a = await addPod("a", [port(8080)]);
    const rules =
      "flush ruleset; table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }";
    await node.succeed("sh", ["-c", `echo '${rules}' | nft -f -`]);
    await eventually(async () => expect(await elements("/a/")).not.toEqual([]));
    // Like the reference's rules, they accept a pod's connections and the answers.
    await eventually(async () => expect(await a.inside.seenBy(OUTSIDE[4], OUTSIDE_PORT)).toBe(NODE[4]));
    expect(await node.succeed("nft", ["list", "chain", "ip", "filter", "CNI-FORWARD"])).toContain("10.22.0.2");
    for (const plugin of pluginsOf(a)) await call(a, { ...plugin, prevResult: a.result }, "CHECK");
    await removePod(a);
    expect(await node.succeed("nft", ["list", "ruleset"])).not.toContain("10.22.0.2");
  });

  test("a pod deleted meanwhile leaves nothing, and a result without its link is ignored", async () => {
    await startWeftd();
    const [a, b, c] = [
      await addPod("a", [port(8080)]),
      await addPod("b", [port(8081)]),
      await addPod("c", [port(8082)]),
    ];
    const ofA = await elements("/a/");
    await removePod(b);
    // The runtime was killed between the removal of the link and of the result.
    await removePod(c);
    remember(c);
    await flush();
    await isBack(ofA, "/a/");
    for (const gone of ["/b/", "/c/"]) expect(await elements(gone)).toEqual([]);
    await expectTraffic(a);
    await isSilent(8081);
    await isSilent(8082);
  });

  test("pods that start and stop during repeated flushes leave nothing, and lack nothing", async () => {
    await startWeftd();
    const pods = [0, 1, 2].map((worker) => `w${worker}`);
    const stays = await addPod("stays", [port(8080)]);
    let isOver = false;
    // Few enough that weftd treats them as damage, not as contention.
    const flushing = (async () => {
      for (let flushes = 0; flushes < 12 && !isOver; flushes++) {
        await flush();
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
    })();
    await Promise.all(
      pods.map(async (id, at) => {
        for (let cycles = 0; cycles < 4; cycles++) await removePod(await addPod(`${id}c${cycles}`, [port(8100 + at)]));
      }),
    );
    isOver = true;
    await flushing;
    // weftd removes what it restored during the pod's DEL.
    await eventually(async () => expect((await elements()).filter((element) => /\/w\d/.test(element))).toEqual([]));
    await flush();
    await eventually(async () => {
      const held = await elements();
      expect(held.filter((element) => /\/w\d/.test(element))).toEqual([]);
      expect(
        new Set(held.filter((element) => element.includes("/stays/")).map((element) => element.split(" ")[0])).size,
      ).toBe(4);
    });
    await expectTraffic(stays);
  });

  test("rules of an attachment whose DEL has begun are not restored", async () => {
    await startWeftd();
    const [a, b] = [await addPod("a", [port(8080)]), await addPod("b", [port(8081)])];
    const [, portmap, firewall] = pluginsOf(b);
    // This is the state in the middle of DEL: the link and the result still exist.
    for (const plugin of [firewall, portmap]) await call(b, { ...(plugin as Plugin), prevResult: b.result }, "DEL");
    const left = await elements();
    for (let looks = 0; looks < 5; looks++) {
      await stir();
      expect(await elements()).toEqual(left);
    }
    // Its rules are restored with all others, since nothing shows that DEL has begun. They are removed with its link.
    await flush();
    await eventually(async () => expect(await elements("/b/")).not.toEqual([]));
    const names = await node.json<{ ifname: string; ifalias?: string }[]>("ip", ["-j", "link", "show"]);
    const link = names.find(({ ifalias }) => ifalias?.includes("/b/"))?.ifname;
    if (link !== undefined) await node.succeed("ip", ["link", "del", link]);
    await eventually(async () => expect(await elements("/b/")).toEqual([]));
    await expectTraffic(a);
  });

  test("a pod without a cached result is reported until it is gone", async () => {
    await startWeftd();
    await addPod("a", [port(8080)]);
    const b = await addPod("b", [port(8081)], false);
    const [ofA, ofB] = [await elements("/a/"), await elements("/b/")];
    // weftd checks the tables, and sees b's rules.
    await node.succeed("nft", ["delete", "table", "inet", "weft_masquerade"]);
    await isBack(ofA, "/a/");
    expect((await elements("/b/")).length).toBeLessThan(ofB.length);
    await flush();
    await isBack(ofA, "/a/");
    await eventually(async () => expect((await ask("/readyz")).body).toContain("container b"));
    const { status, body } = await ask("/readyz");
    expect(status).toBe(200);
    expect(body).toMatch(
      /\[!\] pods' rules: container b, interface eth0, network restored: another program removed its rules \(portmap, macspoofchk, firewall\), .*restart the pod/,
    );
    await removePod(b);
    await flush();
    await eventually(async () => expect((await ask("/readyz")).body).not.toContain("pods' rules"));
  });
});

describe("without weftd", () => {
  test("doctor finds the missing rules, and its command restores them", async () => {
    const a = await addPod("a", [port(8080)]);
    const doctor = async () => {
      const { stdout } = await weft("doctor", "--only", "pod-rules", "--cni-bin-dir", BIN, "-o", "json");
      return (JSON.parse(stdout) as { findings: { check: string; seen: string; run?: string }[] }).findings;
    };
    expect(await doctor()).toEqual([]);
    const before = await elements();
    await flush();
    const [finding] = await doctor();
    expect(finding?.seen).toContain(
      "container a, interface eth0, network restored (masquerade, portmap, macspoofchk, firewall)",
    );
    const dry = await weft("restore", "--dry-run", "--cni-bin-dir", BIN);
    expect(dry).toMatchObject({ status: 0, stdout: expect.stringContaining("inet weft_portmap") });
    expect(await elements()).toEqual([]);
    await node.succeed("sh", ["-c", finding?.run ?? "false"]);
    expect(await elements()).toEqual(before);
    await expectTraffic(a);
    expect(await doctor()).toEqual([]);
    const again = await weft("restore", "--cni-bin-dir", BIN, "-o", "json");
    expect(JSON.parse(again.stdout)).toMatchObject({ changed: false, restored: [], failures: [] });
    await removePod(a);
    expect(await elements()).toEqual([]);
  });

  test("a port that another pod has taken meanwhile stays with it, and the conflict is reported", async () => {
    const a = await addPod("a", [port(8080)]);
    await flush();
    const b = await addPod("b", [port(8080)]);
    const { status, stdout } = await weft("restore", "--cni-bin-dir", BIN);
    expect(status).toBe(1);
    expect(stdout.replace(/\s+/g, " ")).toContain(
      "portmap of container a, interface eth0, network restored: container b, interface eth0, network restored now has 8080/tcp",
    );
    expect(await b.inside.seenBy(OUTSIDE[4], OUTSIDE_PORT)).toBe(NODE[4]);
    expect(await a.inside.seenBy(OUTSIDE[4], OUTSIDE_PORT)).toBe(NODE[4]);
    await expectTraffic(b);
  });

  test("rules restored for a pod during its DEL are removed with its link, in other programs' chains too", async () => {
    const [a, b] = [await addPod("a", [port(8080)]), await addPod("b", [port(8081)])];
    const before = await elements("/b/");
    const links = await node.json<{ ifname: string; ifalias?: string }[]>("ip", ["-j", "link", "show"]);
    const link = links.find(({ ifalias }) => ifalias?.includes("/a/"))?.ifname ?? "";
    const rules =
      "flush ruleset; table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }";
    const ruleset = () => node.succeed("nft", ["list", "ruleset"]);
    // Stops `weft restore` while it waits. If the machine was too slow for that, tries again.
    const restoreAndStop = async (attempt = 1): Promise<Running> => {
      await node.succeed("sh", ["-c", `echo '${rules}' | nft -f -`]);
      const [file = "", ...args] = withState(`${folder}/state`, [`${BIN}/weft`, "restore", "--cni-bin-dir", BIN]);
      const restoring = new Running(namespace, file, args, cleanup);
      await eventually(async () => expect(await ruleset()).toMatch(/CNI-FORWARD[^}]*10\.22\.0\.2/));
      await eventually(async () => expect(await elements("/a/")).not.toEqual([]));
      // By now it has done all immediate work.
      await new Promise((resolve) => setTimeout(resolve, 500));
      restoring.signal("SIGSTOP");
      if (restoring.isRunning) return restoring;
      if (attempt === 5) throw new Error(`weft restore does not wait for a DEL\n${restoring.output}`);
      return restoreAndStop(attempt + 1);
    };
    const restoring = await restoreAndStop();
    await node.succeed("ip", ["link", "del", link]);
    restoring.signal("SIGCONT");
    await eventually(() => expect(restoring.isRunning).toBe(false));
    expect(restoring.output).not.toMatch(/error/i);
    expect(await elements("/a/")).toEqual([]);
    expect(await ruleset()).not.toMatch(/10\.22\.0\.2\b|fd00:22::2\b/);
    expect(await elements("/b/")).toEqual(before);
    expect(await b.inside.seenBy(OUTSIDE[4], OUTSIDE_PORT)).toBe(NODE[4]);
    await removePod(a);
  });
});
