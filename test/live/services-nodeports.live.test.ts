/** NodePorts on a node's changing addresses, and the order of two proxies on one node, with real connections. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";
import { ServiceObjects, servicesTable } from "./harness/services.ts";

const NODE_PORT = 30080;
const SECOND = "203.0.113.7";
const SECOND6 = "2001:db8:f::7";

const cleanup = new Cleanup();
let cluster: Cluster;
let node: Node;
let outside: Node;
let server: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  const objects = new ServiceObjects(cluster);
  outside = await cluster.addNode(2);
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
  node = await cluster.addNode(1);
  server = await cluster.addPod(node, "server");
  await objects.create("web", {
    ...{ type: "NodePort", clusterIPs: ["10.96.0.11", "fd00:10:96::11"], ipFamilies: ["IPv4", "IPv6"] },
    ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: NODE_PORT }],
  });
  for (const address of server.addresses) await objects.createSlice("web", ECHO_PORT, [{ address, node: node.name }]);
  for (const [route, address] of [
    ["203.0.113.0/24", "192.0.2.1"],
    ["2001:db8:f::/64", "2001:db8::1"],
  ])
    await outside.inside.succeed("ip", ["route", "add", `${route}`, "via", `${address}`]);
});

afterAll(() => cleanup.run());

const answers = (host: string) => outside.inside.seenBy(host, NODE_PORT, { timeoutMs: 1000 });
const isAnswered = (host: string) => eventually(() => answers(host));
const isRefused = (host: string) => eventually(() => expect(answers(host)).rejects.toThrow());
const address = (verb: "add" | "del", text: string) =>
  node.inside.succeed("ip", ["address", verb, text, "dev", "eth0", ...(verb === "add" ? ["nodad"] : [])]);

async function restart(addresses: string): Promise<void> {
  await node.weftd.stop("SIGTERM");
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables", WEFTD_NODEPORT_ADDRESSES: addresses };
  cluster.restartWeftd(node);
  await cluster.ready(node);
}

test("primary: NodePorts answer on the Node's own addresses of both families only", async () => {
  // Masqueraded: the endpoint sees the node's address towards the pod.
  for (const own of ["192.0.2.1", "2001:db8::1"]) await isAnswered(own);
  await address("add", `${SECOND}/24`);
  await address("add", `${SECOND6}/64`);
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (const other of [SECOND, SECOND6]) await expect(answers(other)).rejects.toThrow();
  await address("del", `${SECOND}/24`);
  await address("del", `${SECOND6}/64`);
});

test("all: NodePorts follow added and removed addresses", async () => {
  await restart("all");
  await isAnswered("192.0.2.1");
  await isRefused(SECOND);
  await address("add", `${SECOND}/24`);
  await isAnswered(SECOND);
  await address("add", `${SECOND6}/64`);
  await isAnswered(SECOND6);
  await address("del", `${SECOND}/24`);
  await eventually(async () => expect((await servicesTable(node))?.join()).not.toContain(SECOND));
  await isAnswered(SECOND6);
  await address("del", `${SECOND6}/64`);
});

test("networks of one family enable no address of the other family", async () => {
  await address("add", `${SECOND}/24`);
  await restart("203.0.113.0/24");
  await isAnswered(SECOND);
  await isRefused("192.0.2.1");
  await isRefused("2001:db8::1");
  await address("del", `${SECOND}/24`);
});
