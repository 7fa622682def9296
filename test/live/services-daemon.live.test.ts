/**
 * weftd serves Services on real kernels, with real connections: watch events reach the kernel, restarts and crashes
 * change nothing, and neither does an unreachable API server.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Machine, type Node, type Pod } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import { eventually, Running } from "./harness/process.ts";
import { ServiceObjects, servicesTable } from "./harness/services.ts";

/** Long enough for notifications and joined passes to complete. */
const QUIET_MS = 1500;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Only the second pod listens on this port. */
const OTHER_PORT = 7008;
const STREAM_PORT = 7009;
const VIP = "10.96.0.11";
const VIP6 = "fd00:10:96::11";

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: ServiceObjects;
let first: Node;
let second: Node;
let client: Pod;
let local: Pod;
let remote: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
  objects = new ServiceObjects(cluster);
  first = await cluster.addNode(1, withDefaultRoutes);
  second = await cluster.addNode(2, withDefaultRoutes);
  await eventually(async () => expect((await cluster.peerRoutes(first)).size).toBe(2));
  await eventually(async () => expect((await cluster.peerRoutes(second)).size).toBe(2));
  client = await cluster.addPod(first, "client");
  local = await cluster.addPod(first, "local");
  remote = await cluster.addPod(second, "remote");
  await remote.inside.listen(OTHER_PORT);
  for (const pod of [local, remote]) await pod.inside.echo(STREAM_PORT);
});

afterAll(() => cleanup.run());

/** A node needs a route to a Service's address before its rules apply. */
async function withDefaultRoutes({ namespace }: Machine): Promise<void> {
  for (const gateway of ["192.0.2.250", "2001:db8::250"])
    await succeed("ip", ["-n", namespace.name, "route", "add", "default", "via", gateway]);
}

/**
 * Everything committed in the node's namespace until the returned function is called. That function returns nft's
 * output.
 */
async function monitor({ namespace, inside }: Node): Promise<() => Promise<string>> {
  const running = new Running(namespace, "nft", ["monitor"], cleanup);
  // nft is listening once it prints this.
  await eventually(async () => {
    await inside.succeed("nft", ["add", "table", "ip", "probe"]);
    await inside.succeed("nft", ["delete", "table", "ip", "probe"]);
    expect(running.output).toContain("probe");
  });
  const from = running.output.length;
  return async () => {
    await running.stop("SIGTERM");
    return running.output.slice(from);
  };
}

/** The commits for Services. */
const ofServices = (told: string) => told.split("\n").filter((line) => line.includes("weft-services"));
const reaches = (pod: Pod, host: string, port = 80) => pod.inside.seenBy(host, port, { timeoutMs: 1000 });
const target = (pod: Pod, index = 0) => ({ address: pod.addresses[index] ?? "", node: pod.node.name });

test("weftd sets connection tracking's timeouts as kube-proxy does", async () => {
  const setting = (name: string) =>
    first.inside.succeed("sysctl", ["-n", `net.netfilter.nf_conntrack_tcp_timeout_${name}`]);
  await eventually(async () => {
    expect((await setting("established")).trim()).toBe("86400");
    expect((await setting("close_wait")).trim()).toBe("3600");
  });
});

describe("watch events", () => {
  test("a Service forwards to its endpoint with the pod's own address; a deleted one does not", async () => {
    await objects.create("web", { clusterIP: VIP, clusterIPs: [VIP] });
    await objects.createSlice("web", ECHO_PORT, [target(remote)]);
    expect(await eventually(() => reaches(client, VIP))).toBe(client.address);
    expect(await eventually(() => first.inside.seenBy(VIP, 80, { timeoutMs: 1000 }))).toBe(first.address);
    await objects.remove("web");
    await eventually(() => expect(reaches(client, VIP)).rejects.toThrow());
    await objects.removeSlice("web");
  });

  test("endpoints and ports can change", async () => {
    await objects.create("flip", { clusterIP: VIP, clusterIPs: [VIP] });
    await objects.createSlice("flip", ECHO_PORT, []);
    await eventually(() => expect(reaches(client, VIP)).rejects.toThrow(/ECONNREFUSED/));
    await objects.changeSlice("flip", [target(local)]);
    await eventually(() => reaches(client, VIP));
    // Only the remote pod listens there.
    await objects.changeSlice("flip", [target(remote)], "IPv4", OTHER_PORT);
    await eventually(() => reaches(client, VIP));
    await objects.changeSlice("flip", [target(local)], "IPv4", OTHER_PORT);
    await eventually(() => expect(reaches(client, VIP)).rejects.toThrow());
    await objects.remove("flip");
    await objects.removeSlice("flip");
  });

  test("a Service with both families is served in both", async () => {
    await objects.create("dual", { clusterIPs: [VIP, VIP6], ipFamilies: ["IPv4", "IPv6"] });
    await objects.createSlice("dual", ECHO_PORT, [target(remote)]);
    await objects.createSlice("dual", ECHO_PORT, [target(remote, 1)]);
    expect(await eventually(() => reaches(client, VIP))).toBe(client.addresses[0]);
    expect(await eventually(() => reaches(client, VIP6))).toBe(client.addresses[1]);
    await objects.remove("dual");
    await objects.removeSlice("dual");
    await objects.removeSlice("dual", "IPv6");
  });

  test("/readyz, /debug/services and /metrics show the Service", async () => {
    await objects.create("told", { clusterIP: VIP, clusterIPs: [VIP] });
    await objects.createSlice("told", ECHO_PORT, [target(local), target(remote)]);
    await eventually(() => reaches(client, VIP));
    expect((await cluster.readyz(first)).body).toMatch(
      /\[\+\] services: \d+ Services with \d+ endpoints are programmed/,
    );
    const { services } = JSON.parse((await cluster.status(first, "/debug/services?service=default/told")).body);
    expect(services).toMatchObject([
      {
        service: "default/told",
        frontends: [{ address: VIP, port: 80, endpoints: [`${local.address}:7007`, `${remote.address}:7007`] }],
        endpoints: [{ isUsed: true }, { isUsed: true }],
      },
    ]);
    expect((await cluster.status(first, "/metrics")).body).toMatch(/^weft_services [1-9]/m);
    await objects.remove("told");
    await objects.removeSlice("told");
  });
});

describe("weftd stopped, killed or started again", () => {
  beforeAll(async () => {
    await objects.create("long", { clusterIP: VIP, clusterIPs: [VIP], type: "NodePort" });
    await objects.createSlice("long", STREAM_PORT, [target(local), target(remote)]);
    await eventually(() => client.inside.converse(VIP, 80, 200, 50));
  });
  afterAll(async () => {
    await objects.remove("long");
    await objects.removeSlice("long");
  });

  test.each(["SIGTERM", "SIGKILL"] as const)(
    "after %s the kernel is unchanged, a start writes nothing, and no connection is lost",
    async (signal) => {
      const before = await servicesTable(first);
      expect(before?.join()).toContain(VIP);
      const stop = await monitor(first);
      const streams = [client.inside, first.inside].map((inside) => inside.converse(VIP, 80, 4000, 20));
      await first.weftd.stop(signal);
      expect(await servicesTable(first)).toEqual(before);
      await eventually(() => client.inside.converse(VIP, 80, 100, 20));
      cluster.restartWeftd(first);
      await cluster.ready(first);
      await first.weftd.says(/Services compared with the kernel/);
      for (const { sent, echoed } of await Promise.all(streams)) {
        expect(sent).toBeGreaterThan(10);
        expect(echoed).toBe(sent);
      }
      await pause(QUIET_MS);
      expect(ofServices(await stop())).toEqual([]);
      expect(await servicesTable(first)).toEqual(before);
    },
  );

  test("a start writes only the changes that happened meanwhile", async () => {
    const before = await servicesTable(first);
    await first.weftd.stop("SIGKILL");
    await objects.changeSlice("long", [target(remote)]);
    const stop = await monitor(first);
    cluster.restartWeftd(first);
    await cluster.ready(first);
    await eventually(async () => expect((await servicesTable(first))?.join()).not.toContain(local.address));
    await pause(QUIET_MS);
    const told = ofServices(await stop());
    expect(told.length).toBeGreaterThan(0);
    for (const line of told) expect(line).toMatch(/^(add|delete) element /);
    await objects.changeSlice("long", [target(local), target(remote)]);
    await eventually(async () => expect((await servicesTable(first))?.length).toBe(before?.length));
  });

  test("--service-proxy none keeps the table unchanged", async () => {
    const before = await servicesTable(first);
    await first.weftd.stop("SIGTERM");
    cluster.weftdEnvironment = {};
    cluster.restartWeftd(first);
    await cluster.ready(first);
    await pause(QUIET_MS);
    expect(await servicesTable(first)).toEqual(before);
    expect((await cluster.readyz(first)).body).not.toContain("services");
    await first.weftd.stop("SIGTERM");
    cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
    cluster.restartWeftd(first);
    await cluster.ready(first);
  });
});

test("while the API server is unreachable, the table stays, also after a restart; missed changes follow", async () => {
  await objects.create("stays", { clusterIP: VIP, clusterIPs: [VIP] });
  await objects.createSlice("stays", ECHO_PORT, [target(local)]);
  await eventually(() => reaches(client, VIP));
  const before = await servicesTable(first);
  cluster.freezeApi("SIGSTOP");
  try {
    await first.weftd.stop("SIGKILL");
    cluster.restartWeftd(first);
    await pause(QUIET_MS);
    await reaches(client, VIP);
    expect(await servicesTable(first)).toEqual(before);
  } finally {
    cluster.freezeApi("SIGCONT");
  }
  await cluster.ready(first);
  await objects.changeSlice("stays", [target(remote)], "IPv4", OTHER_PORT);
  await eventually(() => reaches(client, VIP));
  await objects.remove("stays");
  await objects.removeSlice("stays");
});
