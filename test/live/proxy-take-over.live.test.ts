/**
 * A node changes from kube-proxy to weft and back. kube-proxy's rules are those recorded from kube-proxy 1.36 (with
 * this test's pods as endpoints), in nftables mode and in iptables mode, through iptables-nft and iptables-legacy. All
 * connections, old and new, succeed.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Machine, type Node, type Pod } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import { inOrder } from "./harness/in-order.ts";
import type { Inside } from "./harness/inside.ts";
import { OURS } from "./harness/plugin-bed.ts";
import { eventually, Running } from "./harness/process.ts";
import { servicesTable } from "./harness/services.ts";

const VECTORS = "test/vectors/kube-proxy";
/** rec/one: one endpoint, for long connections. */
const ONE = "10.250.10.8";
/** rec/web: two endpoints, for new connections. */
const WEB = "10.250.10.1";
/** The time of several retries of weftd for the port. */
const RETRIES_MS = 5000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Simulates kube-proxy in one mode: loads its rules, and shows what is left of them. */
interface Played {
  readonly load: (node: Machine, rename: (text: string) => string) => Promise<unknown>;
  readonly left: (node: Machine) => Promise<readonly string[]>;
}

const read = (name: string) => readFileSync(`${VECTORS}/${name}`, "utf8");
const lines = (text: string, pattern: RegExp) => text.split("\n").filter((line) => pattern.test(line));

async function fed({ inside }: Machine, file: string, args: readonly string[], input: string): Promise<void> {
  const { status, stderr } = await inside.run(file, args, input);
  if (status !== 0) throw new Error(`${file}: ${stderr}`);
}

function iptables(kind: "nft" | "legacy"): Played {
  return {
    // kube-proxy makes the counter of dropped packets with a tool that this machine lacks.
    load: (node, rename) => {
      const saved = lines(rename(read("iptables-mode-n1.txt")), /^(?!.*-m nfacct )/).join("\n");
      return fed(node, `iptables-${kind}-restore`, [], `${saved}\n`);
    },
    // KUBE-FIREWALL is kubelet's.
    left: async ({ inside }) => {
      const saved = await inside.succeed(`iptables-${kind}-save`);
      return lines(saved, /KUBE-/).filter((line) => !line.includes("KUBE-FIREWALL"));
    },
  };
}

const PLAYED: Readonly<Record<string, Played>> = {
  nftables: {
    load: (node, rename) => fed(node, "nft", ["-f", "-"], rename(read("n1-ip.nft")) + read("n1-ip6.nft")),
    left: async ({ inside }) => lines(await inside.succeed("nft", ["list", "tables"]), /kube-proxy/),
  },
  "iptables-nft": iptables("nft"),
  "iptables-legacy": iptables("legacy"),
};

/** Listens on kube-proxy's ports. */
async function startProxy({ namespace }: Machine, cleanup: Cleanup): Promise<Running> {
  const script = `for (const port of [10256, 10249])
    require("node:http").createServer((_, answer) => answer.end("kube-proxy")).listen(port, "0.0.0.0", () => console.log("at " + port))`;
  const proxy = new Running(namespace, process.execPath, ["-e", script], cleanup);
  await proxy.says(/at 10256/);
  await proxy.says(/at 10249/);
  return proxy;
}

/**
 * Opens new connections one after another until the returned function is called. That function returns their number.
 */
function connecting(inside: Inside, host: string): () => Promise<number> {
  let isOver = false;
  const running = (async () => {
    let count = 0;
    for (; !isOver; count++) {
      await inside.seenBy(host, 80, { timeoutMs: 2000 });
      await pause(10);
    }
    return count;
  })();
  running.catch(() => undefined);
  return () => {
    isOver = true;
    return running;
  };
}

describe.concurrent.each(Object.keys(PLAYED))("%s", (mode) => {
  inOrder();
  const { load, left } = PLAYED[mode] as Played;
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let node: Node;
  let proxy: Running;
  let client: Pod;
  let local: Pod;
  let remote: Pod;
  let rename: (text: string) => string;
  let recorded: readonly string[];

  beforeAll(async () => {
    cluster = await Cluster.start("host-gw", cleanup);
    const other = await cluster.addNode(2);
    remote = await cluster.addPod(other, "remote");
    cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
    node = await cluster.addNode(1, async (machine) => {
      proxy = await startProxy(machine, cleanup);
      await succeed("ip", ["-n", machine.namespace.name, "route", "add", "default", "via", "192.0.2.250"]);
    });
    client = await cluster.addPod(node, "client");
    local = await cluster.addPod(node, "local");
    for (const pod of [local, remote]) await pod.inside.listen(8080);
    await remote.inside.echo(8081);
    rename = (text) =>
      text
        .replaceAll("10.244.1.201", local.address)
        .replaceAll("10.244.2.201", remote.address)
        .replaceAll(/10\.244\.2\.208( \. |:)8080/g, `${remote.address}$18081`)
        .replaceAll("10.244.2.208", remote.address);
    await load(node, rename);
    recorded = await left(node);
    await createObjects();
  });
  afterAll(() => cleanup.run());

  /** The recorded Services and EndpointSlices. */
  async function createObjects(): Promise<void> {
    await cluster.api("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "rec" } });
    const { items } = JSON.parse(read("objects.json"));
    for (const { status, ...item } of items) {
      const { name, namespace, labels } = item.metadata;
      const isOne = item.kind === "EndpointSlice" && name === "one-1";
      const object = JSON.parse(rename(JSON.stringify({ ...item, metadata: { name, namespace, labels } })));
      if (isOne) object.ports[0].port = 8081;
      const [group, plural] =
        item.kind === "Service" ? ["/api/v1", "services"] : ["/apis/discovery.k8s.io/v1", "endpointslices"];
      const path = `${group}/namespaces/rec/${plural}`;
      await cluster.api("POST", path, object);
      if (status !== undefined && Object.keys(status).length > 0)
        await cluster.api("PATCH", `${path}/${name}/status`, { status });
    }
  }

  const streams = (forMs: number) => [client.inside, node.inside].map((inside) => inside.converse(ONE, 80, forMs, 20));
  async function expectWhole(conversations: readonly Promise<{ sent: number; echoed: number }>[]): Promise<void> {
    for (const { sent, echoed } of await Promise.all(conversations)) {
      expect(sent).toBeGreaterThan(50);
      expect(echoed).toBe(sent);
    }
  }
  const ask = (port: number, path: string) => node.inside.ask(`http://127.0.0.1:${port}${path}`);
  const weft = (...words: string[]) =>
    node.inside.run(`${OURS}/weft`, [
      ...["cleanup", "--services", "--run-dir", node.runDir, "--cni-conf-dir", node.confDir, ...words],
    ]);
  const events = async () => JSON.stringify(await cluster.api("GET", "/api/v1/events"));

  test("while kube-proxy runs, weftd programs and removes nothing, and an Event reports it", async () => {
    await expect(client.inside.seenBy(WEB, 80)).resolves.toBe(client.address);
    await eventually(async () => expect(await events()).toContain("KubeProxyRuns"));
    await pause(RETRIES_MS);
    expect(await servicesTable(node)).toBeUndefined();
    expect(await left(node)).toEqual(recorded);
    expect((await ask(10256, "/healthz")).body).toBe("kube-proxy");
    expect((await events()).match(/"reason":"KubeProxyRuns"/g)).toHaveLength(1);
    expect((await cluster.readyz(node)).body).toContain("[+] services: another program serves Services");
  });

  test("when kube-proxy ends, weftd programs its rules, removes kube-proxy's, and no connection is lost", async () => {
    const stranger =
      "add table ip stranger; add chain ip stranger KUBE-SERVICES; add rule ip stranger KUBE-SERVICES accept";
    await fed(node, "nft", ["-f", "-"], stranger);
    const open = streams(RETRIES_MS * 2);
    const stop = [client.inside, node.inside].map((inside) => connecting(inside, WEB));
    await pause(500);
    await proxy.stop("SIGKILL");
    await eventually(async () => expect(await left(node)).toEqual([]));
    expect(await servicesTable(node)).toBeDefined();
    await pause(500);
    for (const end of stop) expect(await end()).toBeGreaterThan(10);
    await expectWhole(open);
    expect(await node.inside.succeed("nft", ["list", "chain", "ip", "stranger", "KUBE-SERVICES"])).toContain("accept");
    if (mode !== "nftables") {
      const saved = await node.inside.succeed(`${mode}-save`);
      expect(saved).toContain("-A INPUT -j KUBE-FIREWALL");
      expect(saved).toContain("block incoming localnet connections");
    }
    expect(node.weftd.output).toMatch(/kube-proxy's rules removed/);
  });

  test("weftd then listens on kube-proxy's ports", async () => {
    await eventually(async () =>
      expect(JSON.parse((await ask(10256, "/healthz")).body)).toMatchObject({ healthy: true, nodeEligible: true }),
    );
    expect((await ask(10256, "/livez")).status).toBe(200);
    await eventually(async () => expect((await ask(10249, "/proxyMode")).body).toBe("nftables"));
    const { body } = await ask(10249, "/metrics");
    expect(body).toMatch(/^kubeproxy_sync_full_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} [1-9]/m);
    const check = (port: number) => node.inside.ask(`http://${node.address}:${port}/`);
    // rec/lb-local has an endpoint here; rec/lb-remote has none.
    await eventually(async () => expect(await check(30206)).toMatchObject({ status: 200 }));
    await eventually(async () => expect(await check(30354)).toMatchObject({ status: 503 }));
    expect(JSON.parse((await check(30206)).body)).toEqual({
      ...{ service: { namespace: "rec", name: "lb-local" }, localEndpoints: 1, serviceProxyHealthy: true },
    });
  });

  test("connections are counted by Service", async () => {
    for (let time = 0; time < 3; time++) await client.inside.seenBy(WEB, 80);
    await eventually(async () => {
      const { body } = await cluster.status(node, "/metrics");
      expect(body).toMatch(/^weft_service_connections_total\{namespace="rec",service="web"\} [1-9]/m);
    });
  });

  test("a Node being removed gets no more traffic from load balancers, and its proxy stays alive", async () => {
    const taints = [{ key: "ToBeDeletedByClusterAutoscaler", effect: "NoSchedule" }];
    await cluster.api("PATCH", `/api/v1/nodes/${node.name}`, { spec: { taints } });
    await eventually(async () => expect(await ask(10256, "/healthz")).toMatchObject({ status: 503 }));
    expect(JSON.parse((await ask(10256, "/healthz")).body)).toMatchObject({ nodeEligible: false, healthy: true });
    expect((await ask(10256, "/livez")).status).toBe(200);
    await cluster.api("PATCH", `/api/v1/nodes/${node.name}`, { spec: { taints: [] } });
    await eventually(async () => expect(await ask(10256, "/healthz")).toMatchObject({ status: 200 }));
  });

  test("if kube-proxy has the port when weftd restarts, the table is unchanged, and doctor names kube-proxy", async () => {
    const whole = await servicesTable(node);
    await node.weftd.stop("SIGTERM");
    proxy = await startProxy(node, cleanup);
    cluster.restartWeftd(node);
    await eventually(async () =>
      expect((await cluster.readyz(node)).body).toContain("[+] services: another program serves Services"),
    );
    expect(await servicesTable(node)).toEqual(whole);
    const paths = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir];
    const doctor = await node.inside.run(`${OURS}/weft`, ["doctor", "--only", "stale-services", ...paths]);
    expect(doctor.stdout).toMatch(
      /error \(stale-services\): the table inet weft-services exists, but weftd is waiting/,
    );
    await proxy.stop("SIGKILL");
    await eventually(async () =>
      expect(JSON.parse((await ask(10256, "/healthz")).body)).toMatchObject({ healthy: true }),
    );
    await eventually(async () => expect((await cluster.readyz(node)).body).toContain("are programmed"));
  });

  test("the change back (none, kube-proxy, cleanup --services) loses no connection", async () => {
    const whole = await servicesTable(node);
    const open = streams(RETRIES_MS * 2);
    const stop = [client.inside, node.inside].map((inside) => connecting(inside, WEB));
    expect(await weft()).toMatchObject({ status: 3, stderr: expect.stringContaining("weftd programs Services") });
    expect(await servicesTable(node)).toEqual(whole);

    await node.weftd.stop("SIGTERM");
    cluster.weftdEnvironment = {};
    cluster.restartWeftd(node);
    await cluster.ready(node);
    expect(await servicesTable(node)).toEqual(whole);
    expect((await weft("--dry-run")).stdout).toMatch(/no rules of kube-proxy: until another program/);

    proxy = await startProxy(node, cleanup);
    await load(node, rename);
    const dry = await weft("--dry-run");
    expect(dry).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("  nft delete table inet weft-services\n"),
    });
    expect(await servicesTable(node)).toEqual(whole);
    const { status, stdout, stderr } = await weft("-o", "json");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ changed: true, failures: [] });
    expect(await servicesTable(node)).toBeUndefined();
    // weft's other tables are unchanged.
    await node.inside.succeed("nft", ["list", "table", "inet", "weft"]);
    expect((await left(node)).length).toBe(recorded.length);

    await pause(500);
    for (const end of stop) expect(await end()).toBeGreaterThan(10);
    await expectWhole(open);
    expect((await weft()).stdout).toContain("Found no rules of weft for Services");
  });
});
