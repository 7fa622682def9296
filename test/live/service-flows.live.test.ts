/** UDP to Services that weftd programs, from a fixed source port: no change of endpoints makes a black hole. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Machine, type Node, type Pod } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import { eventually, PATIENCE } from "./harness/process.ts";
import { ServiceObjects } from "./harness/services.ts";

const VIPS = ["10.96.0.31", "fd00:10:96::31"] as const;
const OTHERS = ["10.96.0.32", "fd00:10:96::32"] as const;
const [PORT, FROM] = [80, 40_000];

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: ServiceObjects;
let node: Node;
let client: Pod;
let first: Pod;
let second: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
  objects = new ServiceObjects(cluster);
  node = await cluster.addNode(1, withDefaultRoutes);
  // Flows must not expire: an expired flow would look like a deleted one.
  for (const timeout of ["udp_timeout", "udp_timeout_stream"])
    await node.inside.succeed("sysctl", ["-qw", `net.netfilter.nf_conntrack_${timeout}=600`]);
  client = await cluster.addPod(node, "client");
  first = await cluster.addPod(node, "first");
  second = await cluster.addPod(node, "second");
  for (const { inside } of [first, second]) await inside.listen(ECHO_PORT, "udp");
  await create("dns", VIPS);
  await create("other", OTHERS);
  await lead("other", second);
});
afterAll(() => cleanup.run());

async function withDefaultRoutes({ namespace }: Machine): Promise<void> {
  for (const gateway of ["192.0.2.250", "2001:db8::250"])
    await succeed("ip", ["-n", namespace.name, "route", "add", "default", "via", gateway]);
}

async function create(name: string, clusterIPs: readonly string[]): Promise<void> {
  const ports = [{ name: "http", protocol: "UDP", port: PORT }];
  await objects.create(name, { clusterIP: clusterIPs[0], clusterIPs, ipFamilies: ["IPv4", "IPv6"], ports });
  for (const family of ["IPv4", "IPv6"] as const)
    await objects.createSlice(name, ECHO_PORT, [], { protocol: "UDP", family });
}

async function lead(name: string, ...pods: readonly Pod[]): Promise<void> {
  for (const [index, family] of (["IPv4", "IPv6"] as const).entries()) {
    const endpoints = pods.map((pod) => ({ address: pod.addresses[index] ?? "", node: pod.node.name }));
    await objects.changeSlice(name, endpoints, family);
  }
}

/** Each flow to `destination`: the address that answers it, and its id. */
async function flows(destination: string): Promise<{ readonly by: string; readonly id: string }[]> {
  const family = destination.includes(":") ? "ipv6" : "ipv4";
  const text = await node.inside.succeed("conntrack", ["-L", "-f", family, "-p", "udp", "-o", "id"]);
  return text.split("\n").flatMap((line) => {
    const field = (name: string) =>
      [...line.matchAll(new RegExp(`\\b${name}=(\\S+)`, "g"))].map(([, value = ""]) => value);
    return field("dst")[0] === destination ? [{ by: field("src")[1] ?? "", id: field("id")[0] ?? "" }] : [];
  });
}
const answering = async (destination: string) => (await flows(destination)).map(({ by }) => by);
const ask = (host: string) =>
  client.inside.seenBy(host, PORT, { transport: "udp", from: FROM, timeoutMs: 300 * PATIENCE });
const answers = (host: string) => eventually(() => ask(host));

test.each([0, 1] as const)(
  "flows follow endpoints that are added, replaced, removed and restored: family %d",
  async (index) => {
    const [vip, other] = [VIPS[index], OTHERS[index]];
    const [one = "", two = ""] = [first.addresses[index], second.addresses[index]];
    await answers(other);
    const good = await flows(other);
    await lead("dns", first);
    await answers(vip);
    expect(await answering(vip)).toEqual([one]);
    await lead("dns", second);
    await eventually(async () => {
      await ask(vip);
      expect(await answering(vip)).toEqual([two]);
    });
    await lead("dns");
    await eventually(async () => expect(await flows(vip)).toEqual([]));
    await expect(ask(vip)).rejects.toThrow();
    await lead("dns", first);
    await answers(vip);
    expect(await answering(vip)).toEqual([one]);
    expect(await flows(other)).toEqual(good);
  },
);

test("a restart of weftd keeps all valid flows, and deletes those of a Service deleted meanwhile", async () => {
  const [vip, other] = [VIPS[0], OTHERS[0]];
  for (const host of [vip, other]) await answers(host);
  const before = [await flows(vip), await flows(other)];
  await node.weftd.stop("SIGKILL");
  cluster.restartWeftd(node);
  await cluster.ready(node);
  const swept = async () =>
    expect((await cluster.status(node, "/metrics")).body).toMatch(
      /weft_controller_passes_total{controller="service-conntrack",result="success"} [1-9]/,
    );
  await eventually(swept);
  expect([await flows(vip), await flows(other)]).toEqual(before);
  await node.weftd.stop("SIGTERM");
  await objects.remove("dns");
  cluster.restartWeftd(node);
  await eventually(async () => expect(await flows(vip)).toEqual([]));
  expect(await flows(other)).toEqual(before[1]);
});
