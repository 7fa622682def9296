/**
 * A thousand changes of endpoints per second, with connections to a Service that they do not affect: no connection
 * fails, and the kernel then holds what a restart would write.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";
import { ServiceObjects, servicesTable } from "./harness/services.ts";

const SERVICES = 500;
const ENDPOINTS = 5;
const CHANGES_A_SECOND = 1000;
const SECONDS = 3;
const TICK_MS = 50;
const STEADY = "10.96.200.1";

const cleanup = new Cleanup();
let cluster: Cluster;
let node: Node;
let client: Pod;

const vip = (number: number) => `10.96.${number >> 8}.${number & 255}`;
const endpoints = (number: number) =>
  Array.from({ length: ENDPOINTS }, (_, at) => ({ addresses: [`10.245.${at}.${(number * 7 + at) & 255}`] }));
const SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { logLevel: "info" });
  const ask = Array.from({ length: SERVICES }, (_, number) => [
    {
      ...{ method: "POST", target: "/api/v1/namespaces/default/services" },
      body: {
        metadata: { name: `s${number}`, namespace: "default" },
        spec: {
          clusterIP: vip(number),
          clusterIPs: [vip(number)],
          ports: [{ name: "http", protocol: "TCP", port: 80 }],
        },
      },
    },
    {
      ...{ method: "POST", target: SLICES },
      body: {
        ...{ addressType: "IPv4", endpoints: endpoints(number), ports: [{ name: "http", protocol: "TCP", port: 80 }] },
        metadata: {
          ...{ name: `s${number}`, namespace: "default" },
          labels: { "kubernetes.io/service-name": `s${number}` },
        },
      },
    },
  ]).flat();
  await cluster.standIn({ ask });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
  node = await cluster.addNode(1);
  client = await cluster.addPod(node, "client");
  const server = await cluster.addPod(node, "server");
  const objects = new ServiceObjects(cluster);
  await objects.create("steady", { clusterIP: STEADY, clusterIPs: [STEADY] });
  await objects.createSlice("steady", ECHO_PORT, [{ address: server.address, node: node.name }]);
  await eventually(() => client.inside.seenBy(STEADY, 80));
});

afterAll(() => cleanup.run());

test("no connection fails, and a restart has nothing to write", async () => {
  let [isOver, connections] = [false, 0];
  const connecting = (async () => {
    for (; !isOver; connections++) expect(await client.inside.seenBy(STEADY, 80)).toBe(client.address);
  })();
  const beganMs = performance.now();
  const perTick = (CHANGES_A_SECOND * TICK_MS) / 1000;
  const ticks = (SECONDS * 1000) / TICK_MS;
  for (let tick = 0; tick < ticks; tick++) {
    const changes = Array.from({ length: perTick }, (_, at) => tick * perTick + at);
    await cluster.standIn({
      ask: changes.map((change) => ({
        ...{ method: "PATCH", target: `${SLICES}/s${change % SERVICES}` },
        body: { endpoints: endpoints(change) },
      })),
    });
    await new Promise((resolve) =>
      setTimeout(resolve, Math.max(0, beganMs + (tick + 1) * TICK_MS - performance.now())),
    );
  }
  isOver = true;
  await connecting;
  expect(connections).toBeGreaterThan(20);
  const last = endpoints(ticks * perTick - 1).map(({ addresses }) => addresses[0]);
  await eventually(async () => expect((await servicesTable(node))?.join()).toContain(last[0]));
  const before = await servicesTable(node);
  await node.weftd.stop("SIGKILL");
  cluster.restartWeftd(node);
  await cluster.ready(node);
  await node.weftd.says(/Services compared with the kernel/);
  expect(node.weftd.output).toMatch(/"transactions":0.*Services compared with the kernel/);
  expect(await servicesTable(node)).toEqual(before);
}, 120_000);
