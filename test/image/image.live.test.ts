/**
 * The image and the manifests together: runs the DaemonSet's own commands with its capabilities, mounts and seccomp
 * profile, on nodes whose API server enforces weftd's rights and the admission policies.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "../live/harness/cleanup.ts";
import { type Cluster, ECHO_PORT, type Machine, type Node } from "../live/harness/cluster.ts";
import { succeed } from "../live/harness/command.ts";
import { eventually } from "../live/harness/process.ts";
import { ServiceObjects } from "../live/harness/services.ts";
import { measureReach } from "../live/harness/traffic.ts";
import { ImageBed, unpackImage } from "./bed.ts";
import type { Kubelet } from "./kubelet.ts";

const CAP_NET_ADMIN = 12n;
const cleanup = new Cleanup();
let root = "";

beforeAll(async () => {
  root = await unpackImage(cleanup);
}, 180_000);

afterAll(() => cleanup.run());

test("nothing in the image is writable except mount points, and no file grants privileges", async () => {
  const found = async (...conditions: string[]) => {
    const paths = (await succeed("find", [root, ...conditions])).trim();
    return paths === "" ? [] : paths.split("\n").map((path) => path.slice(root.length));
  };
  expect(await found("-type", "f", "-perm", "/222")).toEqual([]);
  expect(await found("-type", "d", "-perm", "/022")).toEqual([]);
  expect(await found("-perm", "/7000")).toEqual([]);
  expect(await found("(", "-name", "sh", "-o", "-name", "bash", "-o", "-name", "busybox", ")")).toEqual([]);
  expect(await found("!", "-user", "0", "-o", "!", "-group", "0")).toEqual([]);
});

describe("on a fresh node", () => {
  const own = new Cleanup();
  afterAll(() => own.run());

  let cluster: Cluster;
  const kubelets: Kubelet[] = [];

  beforeAll(async () => {
    const bed = await ImageBed.make(root, "overlays/vxlan", own);
    cluster = bed.cluster;
    const prepare = ({ inside }: Machine) =>
      inside.succeed("sysctl", ["-qw", "net.ipv4.ip_forward=0"]).then(() => undefined);
    for (const number of [1, 2]) {
      const { node, kubelet } = await bed.join(number, prepare);
      kubelets.push(kubelet);
      await cluster.ready(node);
    }
  });

  function parts(): { node: Node; kubelet: Kubelet; other: Node } {
    const [node, other] = cluster.nodes;
    const [kubelet] = kubelets;
    if (node === undefined || other === undefined || kubelet === undefined)
      throw new Error("the nodes did not come up");
    return { node, kubelet, other };
  }

  test("the init container has installed all plugins as one file", () => {
    const { binDir } = parts().kubelet;
    const names = readdirSync(binDir).filter((name) => !name.startsWith("."));
    expect(names).toEqual(expect.arrayContaining(["bridge", "host-local", "loopback", "portmap", "vxlan", "host-gw"]));
    const inodes = new Set(names.map((name) => statSync(`${binDir}/${name}`).ino));
    expect(inodes.size).toBe(1);
  });

  test("the conflist exists, and all probes succeed", async () => {
    const { node, kubelet } = parts();
    expect(existsSync(`${node.confDir}/05-weft.conflist`)).toBe(true);
    for (const kind of ["startupProbe", "livenessProbe", "readinessProbe"] as const)
      expect((await kubelet.probe(kind)).status, kind).toBe(200);
  });

  test("weftd has NET_ADMIN and no other capability, no new privileges, and a system call filter", () => {
    const [pid] = parts().kubelet.processes();
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1];
    for (const set of ["CapBnd", "CapEff", "CapPrm"]) expect(BigInt(`0x${field(set)}`), set).toBe(1n << CAP_NET_ADMIN);
    expect([field("CapInh"), field("CapAmb")]).toEqual(["0000000000000000", "0000000000000000"]);
    expect([field("NoNewPrivs"), field("Seccomp"), field("Uid")]).toEqual(["1", "2", "0\t0\t0\t0"]);
  });

  test("weftd can write to four folders only", () => {
    const [pid] = parts().kubelet.processes();
    const writable = readFileSync(`/proc/${pid}/mountinfo`, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .filter(([, , , , , options = ""]) => options.split(",").includes("rw"))
      .map(([, , , , path]) => path)
      .filter((path) => !/^\/(proc|dev)(\/|$)/.test(path ?? ""));
    expect(writable.sort()).toEqual(["/etc/cni/net.d", "/host/proc/sys/net", "/run/weft", "/var/lib/weft"]);
  });

  test("forwarding is on, although a container's /proc/sys is read-only", async () => {
    const { inside } = parts().node;
    expect((await inside.succeed("sysctl", ["-n", "net.ipv4.ip_forward"])).trim()).toBe("1");
  });

  test("pods attached by the installed plugins reach each other", async () => {
    const { node, other } = parts();
    for (const one of [node, other]) await cluster.addPod(one, "a");
    const { failures, reached } = await measureReach(cluster);
    expect(failures).toEqual([]);
    expect(reached).toBe(2);
  });

  test("the API server rejected no request of weftd", async () => {
    for (const { weftd } of cluster.nodes) expect(weftd.output).not.toMatch(/\b(403|422)\b|forbidden/i);
    await eventually(async () => {
      const { metadata, status } = (await cluster.api("GET", "/api/v1/nodes/n1")) as {
        metadata: { annotations: Record<string, string> };
        status: { conditions: { type: string; status: string }[] };
      };
      expect(metadata.annotations["flannel.alpha.coreos.com/backend-type"]).toBe("vxlan");
      expect(status.conditions).toMatchObject([{ type: "NetworkUnavailable", status: "False" }]);
    });
  });

  test("weft doctor works in the container, and reports what it cannot see from there", async () => {
    const { kubelet } = parts();
    await eventually(async () => {
      const { status, stdout } = await kubelet.exec("/opt/weft/bin/weft", "doctor");
      expect(stdout).toMatch(/^n1 is healthy: \d+ checks, 1 peer$/m);
      expect(status).toBe(0);
    });
    const { stdout } = await kubelet.exec("/opt/weft/bin/weft", "doctor", "-o", "json");
    const { findings, leftOut } = JSON.parse(stdout) as { findings: object[]; leftOut: { check: string }[] };
    expect(findings).toEqual([]);
    expect(leftOut.map(({ check }) => check).sort()).toEqual([
      "leaked-addresses",
      "network-manager",
      "plugins",
      "systemd-networkd",
    ]);
  });

  test("weftd follows a new version of the ConfigMap, for which kubelet changes a link", async () => {
    const { node, kubelet } = parts();
    const conf = { Network: "10.244.0.0/16", Backend: { Type: "vxlan", VNI: 1, Port: 8472, MTU: 1400 } };
    kubelet.writeConfigMap({ "net-conf.json": JSON.stringify(conf) });
    await eventually(async () => {
      const [{ mtu }] = await node.inside.json<[{ mtu: number }]>("ip", ["-j", "link", "show", "flannel.1"]);
      expect(mtu).toBe(1350);
    });
  });

  test("an update loses no packet between pods", async () => {
    const { node, kubelet } = parts();
    const [from, to] = cluster.pods;
    if (from === undefined || to === undefined) throw new Error("there are no pods");
    const ping = from.inside.run("ping", ["-n", "-q", "-i", "0.005", "-c", "1200", "-W", "2", to.address]);
    await node.weftd.stop("SIGTERM");
    expect(node.weftd.output).toMatch(/"msg":"stopped"/);
    expect(await kubelet.install()).toMatchObject({ status: 0 });
    node.weftd = kubelet.start();
    await cluster.ready(node);
    const { stdout } = await ping;
    expect(stdout).toMatch(/1200 packets transmitted, 1200 received/);
  });

  test("pods are deleted, and the DaemonSet's pod ends within its grace period", async () => {
    const { node, other } = parts();
    for (const pod of [...cluster.pods]) await cluster.removePod(pod);
    const began = Date.now();
    await Promise.all([node.weftd.stop("SIGTERM"), other.weftd.stop("SIGTERM")]);
    expect(Date.now() - began).toBeLessThan(10_000);
    expect(existsSync(`${node.confDir}/05-weft.conflist`)).toBe(true);
  });

  test("the installed executable removes all of weft from the node", async () => {
    const { node, kubelet } = parts();
    const { inside, confDir } = node;
    const folders = ["--bin-dir", kubelet.binDir, "--cni-conf-dir", confDir];
    const { status, stdout, stderr } = await inside.run(`${kubelet.binDir}/weft`, ["cleanup", ...folders]);
    expect(status, stdout + stderr).toBe(0);
    const links = await inside.json<{ ifname: string }[]>("ip", ["-j", "link", "show"]);
    expect(links.map(({ ifname }) => ifname).sort()).toEqual(["eth0", "lo"]);
    expect([await inside.succeed("nft", ["list", "ruleset"]), (await cluster.peerRoutes(node)).size]).toEqual(["", 0]);
    expect([readdirSync(confDir), readdirSync(kubelet.binDir)]).toEqual([[], []]);
  });
});

describe("in place of kube-proxy", () => {
  const own = new Cleanup();
  afterAll(() => own.run());

  let cluster: Cluster;
  const kubelets: Kubelet[] = [];
  const VIP = "10.96.0.20";

  beforeAll(async () => {
    const bed = await ImageBed.make(root, "overlays/service-proxy", own);
    cluster = bed.cluster;
    for (const number of [1, 2]) {
      const { node, kubelet } = await bed.join(number);
      kubelets.push(kubelet);
      await cluster.ready(node);
      await cluster.addPod(node, "a");
    }
  });

  test("the same rights on the node are sufficient: Services are served by ClusterIP and by NodePort", async () => {
    const [client, server] = cluster.pods;
    if (client === undefined || server === undefined) throw new Error("there are no pods");
    const objects = new ServiceObjects(cluster);
    const ports = [{ name: "http", protocol: "TCP", port: 80, nodePort: 30080 }];
    await objects.create("web", { type: "NodePort", clusterIP: VIP, clusterIPs: [VIP], ports });
    await objects.createSlice("web", ECHO_PORT, [{ address: server.address, node: server.node.name }]);
    expect(await eventually(() => client.inside.seenBy(VIP, 80, { timeoutMs: 1000 }))).toBe(client.address);
    await eventually(() => client.inside.seenBy(server.node.address, 30080, { timeoutMs: 1000 }));
    const { body } = await client.node.inside.ask("http://127.0.0.1:10256/livez");
    expect(JSON.parse(body)).toMatchObject({ healthy: true });
    expect((await client.node.inside.ask("http://127.0.0.1:10249/proxyMode")).body).toBe("nftables");
  });

  test("the API server rejected no request of weftd, and weftd warns of nothing", async () => {
    for (const node of cluster.nodes) {
      expect(node.weftd.output).not.toMatch(/\b(403|422)\b|forbidden/i);
      expect((await cluster.readyz(node)).body).not.toContain("[!]");
    }
  });

  test("the addresses of the API servers are saved on the node, readable for root only", async () => {
    const slice = {
      metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
      ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4" },
      ports: [{ name: "https", protocol: "TCP", port: 6443 }],
      endpoints: [{ addresses: ["192.0.2.250"], conditions: { ready: true } }],
    };
    await cluster.api("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice);
    const [pid] = (kubelets[0] as Kubelet).processes();
    const path = `/proc/${pid}/root/var/lib/weft/apiserver.json`;
    await eventually(() =>
      expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ version: 1, endpoints: ["192.0.2.250:6443"] }),
    );
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});

describe("on a node with iptables-legacy in use", () => {
  const own = new Cleanup();
  afterEach(() => own.run());

  const prepare = async ({ inside }: Machine) => {
    await inside.succeed("iptables-legacy", ["-P", "FORWARD", "DROP"]);
  };

  test("the base reports what is missing", async () => {
    const bed = await ImageBed.make(root, "base", own);
    const { kubelet } = await bed.join(1, prepare);
    await eventually(async () => {
      const { status, body } = await kubelet.probe("readinessProbe");
      expect(status).toBe(503);
      expect(body).toMatch(
        /iptables-legacy's table filter is in use .* weftd needs NET_RAW and the host's \/run\/xtables.lock/,
      );
    }, 20_000);
  });

  test("the overlay for flannel's nodes makes the chain accept pods", async () => {
    const bed = await ImageBed.make(root, "overlays/flannel-migration", own);
    const { node } = await bed.join(1, prepare);
    await bed.cluster.ready(node);
    expect(await node.inside.succeed("iptables-legacy", ["-S", "FORWARD"])).toMatch(
      /-s 10\.244\.0\.0\/16 .*weft: pods.* -j ACCEPT/,
    );
  });
});
