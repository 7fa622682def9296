/**
 * NodePorts on localhost: 127.0.0.1 by the kernel with a guard, ::1 by weftd itself, with real connections of both
 * families. Each attack on a node is first tried on an unguarded one, to prove that the test can fail.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, ECHO_PORT, type Machine, type Node, type Pod } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import type { Inside } from "./harness/inside.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";
import { ServiceObjects } from "./harness/services.ts";

const [VIP, VIP6] = ["10.96.0.21", "fd00:10:96::21"];
const [UDP_VIP, UDP_VIP6] = ["10.96.0.22", "fd00:10:96::22"];
const [TCP_NODE_PORT, UDP_NODE_PORT] = [30_080, 30_053];
const LOCALHOSTS = ["127.0.0.1", "::1"];
/** The node itself listens on its loopback address at this port. */
const SECRET_PORT = 9999;
const ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet";

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: ServiceObjects;
let first: Node;
let second: Node;
let local: Pod;
let remote: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  cluster.weftdEnvironment = {
    WEFTD_SERVICE_PROXY: "nftables",
    WEFTD_NODEPORT_ADDRESSES: "primary,localhost",
  };
  objects = new ServiceObjects(cluster);
  first = await cluster.addNode(1, withDefaultRoutes);
  second = await cluster.addNode(2, withDefaultRoutes);
  await eventually(async () => expect((await cluster.peerRoutes(first)).size).toBe(2));
  local = await cluster.addPod(first, "local");
  remote = await cluster.addPod(second, "remote");
  for (const { inside } of [local, remote]) await inside.listen(ECHO_PORT, "udp");
  await serve("tcp", "TCP", TCP_NODE_PORT, [VIP, VIP6]);
  await serve("udp", "UDP", UDP_NODE_PORT, [UDP_VIP, UDP_VIP6]);
});
afterAll(() => cleanup.run());

async function withDefaultRoutes({ namespace }: Machine): Promise<void> {
  for (const gateway of ["192.0.2.250", "2001:db8::250"])
    await succeed("ip", ["-n", namespace.name, "route", "add", "default", "via", gateway]);
}

async function serve(name: string, protocol: string, nodePort: number, clusterIPs: readonly string[]): Promise<void> {
  const ports = [{ name: "http", protocol, port: 80, nodePort }];
  await objects.create(name, {
    type: "NodePort",
    clusterIP: clusterIPs[0],
    clusterIPs,
    ipFamilies: ["IPv4", "IPv6"],
    ports,
  });
  for (const index of [0, 1]) await objects.createSlice(name, ECHO_PORT, endpoints(index, local), { protocol });
}

const endpoints = (index: number, ...pods: readonly Pod[]) =>
  pods.map((pod) => ({ address: pod.addresses[index] ?? "", node: pod.node.name }));
const lead = async (name: string, ...pods: readonly Pod[]) => {
  for (const index of [0, 1]) await objects.changeSlice(name, endpoints(index, ...pods), index === 0 ? "IPv4" : "IPv6");
};
const nodePortOf = { tcp: TCP_NODE_PORT, udp: UDP_NODE_PORT } as const;
const ask = (inside: Inside, host: string, transport: "tcp" | "udp") =>
  inside.seenBy(host, nodePortOf[transport], { transport, timeoutMs: 500 * PATIENCE });
const setting = async ({ inside }: Node) => (await inside.succeed("cat", [ROUTE_LOCALNET])).trim();
const guard = async ({ inside }: Node) =>
  (await inside.run("nft", ["list", "table", "inet", "weft-localhost"])).stdout.includes("drop");

describe.each(["tcp", "udp"] as const)("%s to a NodePort", (transport) => {
  test.each(LOCALHOSTS)("on %s reaches an endpoint on the node, and one on another", async (host) => {
    await lead(transport, local);
    // The endpoint sees an address of the node that it can answer.
    expect(await eventually(() => ask(first.inside, host, transport))).not.toBe(host);
    await lead(transport, remote);
    const seen = await eventually(async () => {
      const address = await ask(first.inside, host, transport);
      expect(address).toMatch(/^(192\.0\.2\.1|2001:db8::1)$/);
      return address;
    });
    expect(seen.includes(":")).toBe(host.includes(":"));
  });
});

test("long streams pass ::1 completely in both directions", async () => {
  await remote.inside.echo(7009);
  await objects.change("tcp", {
    spec: { ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: TCP_NODE_PORT }] },
  });
  await lead("tcp", remote);
  for (const family of ["IPv4", "IPv6"] as const)
    await objects.changeSlice("tcp", endpoints(family === "IPv4" ? 0 : 1, remote), family, 7009);
  await eventually(async () => {
    const { sent, echoed } = await first.inside.converse("::1", TCP_NODE_PORT, 500, 5);
    expect(echoed).toBe(sent);
    expect(sent).toBeGreaterThan(0);
  });
  for (const family of ["IPv4", "IPv6"] as const)
    await objects.changeSlice("tcp", endpoints(family === "IPv4" ? 0 : 1, remote), family, ECHO_PORT);
});

test("without endpoints, both addresses refuse connections at once", async () => {
  await lead("tcp");
  for (const host of LOCALHOSTS)
    await eventually(() => expect(ask(first.inside, host, "tcp")).rejects.toThrow(/ECONNREFUSED/));
  await lead("tcp", remote);
  for (const host of LOCALHOSTS) await eventually(() => ask(first.inside, host, "tcp"));
});

describe("the guard of 127.0.0.1", () => {
  /** A neighbour sends packets for 127.0.0.1 to a node. */
  async function knock(neighbour: Machine, victim: string): Promise<string> {
    const { inside } = neighbour;
    await inside.succeed("sh", ["-c", `echo 1 >${ROUTE_LOCALNET}`]);
    await inside.succeed("ip", ["address", "del", "127.0.0.1/8", "dev", "lo"]);
    await inside.succeed("ip", ["route", "replace", "127.0.0.1/32", "via", victim, "dev", "eth0"]);
    return inside.seenBy("127.0.0.1", SECRET_PORT, { timeoutMs: 1000 * PATIENCE });
  }

  test("protects local services from neighbours (CVE-2020-8558)", async () => {
    const open = await cluster.addMachine(3);
    const neighbour = await cluster.addMachine(4);
    await open.inside.listen(SECRET_PORT, "tcp", "127.0.0.1");
    await open.inside.succeed("sh", ["-c", `echo 1 >${ROUTE_LOCALNET}`]);
    expect(await knock(neighbour, "192.0.2.3")).toBe("192.0.2.4");
    await eventually(async () => expect([await setting(first), await guard(first)]).toEqual(["1", true]));
    await first.inside.listen(SECRET_PORT, "tcp", "127.0.0.1");
    expect(await first.inside.seenBy("127.0.0.1", SECRET_PORT)).toBe("127.0.0.1");
    await neighbour.inside.succeed("ip", ["route", "replace", "127.0.0.1/32", "via", "192.0.2.1", "dev", "eth0"]);
    await expect(neighbour.inside.seenBy("127.0.0.1", SECRET_PORT, { timeoutMs: 1000 * PATIENCE })).rejects.toThrow();
    expect(await first.inside.succeed("nft", ["list", "table", "inet", "weft-localhost"])).toMatch(
      /daddr 127\.0\.0\.0\/8 counter packets [1-9]/,
    );
  });

  test("is restored, and so is the setting", async () => {
    await first.inside.succeed("nft", ["delete", "table", "inet", "weft-localhost"]);
    await eventually(async () => expect([await guard(first), await setting(first)]).toEqual([true, "1"]));
    await first.inside.succeed("nft", ["flush", "ruleset"]);
    await eventually(async () => expect([await guard(first), await setting(first)]).toEqual([true, "1"]));
    await first.inside.succeed("sh", ["-c", `echo 0 >${ROUTE_LOCALNET}`]);
    await eventually(async () => expect(await setting(first)).toBe("1"));
    await eventually(() => ask(first.inside, "127.0.0.1", "tcp"));
  });

  test("is removed after the setting if localhost is no longer configured; the port on ::1 is then free", async () => {
    cluster.weftdEnvironment = { ...cluster.weftdEnvironment, WEFTD_NODEPORT_ADDRESSES: "primary" };
    await first.weftd.stop("SIGTERM");
    expect([await guard(first), await setting(first)]).toEqual([true, "1"]);
    cluster.restartWeftd(first);
    await eventually(async () => expect([await setting(first), await guard(first)]).toEqual(["0", false]));
    for (const host of LOCALHOSTS) await expect(ask(first.inside, host, "tcp")).rejects.toThrow();
    await eventually(() => ask(first.inside, first.address, "tcp"));
  });

  test("a port on ::1 that another program has is served once it is free", async () => {
    const script = `require("net").createServer((socket) => socket.end("other echo")).listen(${TCP_NODE_PORT}, "::1")`;
    const other = new Running(first.namespace, process.execPath, ["-e", script], cleanup);
    await eventually(async () => expect(await ask(first.inside, "::1", "tcp")).toBe("other"));
    cluster.weftdEnvironment = { ...cluster.weftdEnvironment, WEFTD_NODEPORT_ADDRESSES: "localhost" };
    await first.weftd.stop("SIGTERM");
    cluster.restartWeftd(first);
    const complaint = /Service default\/tcp is not served at \[::1\]:30080\/TCP/;
    await eventually(() => expect(first.weftd.output).toMatch(complaint));
    expect(await ask(first.inside, "::1", "tcp")).toBe("other");
    expect(await eventually(() => ask(first.inside, "::1", "udp"))).not.toBe("::1");
    await other.stop("SIGTERM");
    await eventually(async () => expect(await ask(first.inside, "::1", "tcp")).toMatch(/^2001:db8::1$/), 20_000);
  });

  test("is removed by weft cleanup --services, after the setting", async () => {
    await eventually(async () => expect([await guard(first), await setting(first)]).toEqual([true, "1"]));
    await first.weftd.stop("SIGTERM");
    const { status, stdout } = await first.inside.run(`${BIN}/weft`, [
      "cleanup",
      "--services",
      "--run-dir",
      first.runDir,
    ]);
    expect(stdout).toMatch(/route_localnet=0[\s\S]*weft-localhost/);
    expect([status, await setting(first), await guard(first)]).toEqual([0, "0", false]);
  });
});
