/**
 * weft services and weft explain on real kernels: what they say of a connection to a Service is compared with real
 * connections, with weftd and without.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, ECHO_PORT, type Families, type Node, type Pod } from "./harness/cluster.ts";
import { eventually, PATIENCE } from "./harness/process.ts";
import { ServiceObjects } from "./harness/services.ts";

const DONE = 0;
const WARNINGS = 4;
const FAULTS = 5;

interface Hop {
  readonly at: string;
  readonly state: string;
  readonly text: string;
  readonly show?: string;
}

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: ServiceObjects;
let first: Node;
let second: Node;
let client: Pod;
let local: Pod;
let remote: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup, { families: "dual" });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
  objects = new ServiceObjects(cluster);
  first = await cluster.addNode(1);
  second = await cluster.addNode(2);
  for (const node of [first, second]) await cluster.ready(node);
  client = await cluster.addPod(first, "client");
  local = await cluster.addPod(first, "local");
  remote = await cluster.addPod(second, "remote");
}, 60_000 * PATIENCE);

afterAll(() => cleanup.run());

test("draft", async () => {
    await objects.create("web", { clusterIP: "10.96.0.11", clusterIPs: ["10.96.0.11"], type: "NodePort", ports: [{name: "http", port: 80, nodePort: 30080, protocol: "TCP"}] });
    await objects.createSlice("web", ECHO_PORT, [{address: local.address, node: "n1"}, {address: remote.address, node: "n2"}]);
    await eventually(() => client.inside.seenBy("10.96.0.11", 80, { timeoutMs: 1000 }));
    const places = ["--run-dir", first.runDir, "--cni-conf-dir", first.confDir];
    for (const words of ["services", "explain 10.96.0.11:80 --from "+client.address, "explain 10.96.0.11:80 ", "explain 192.0.2.1:30080 --from 192.0.2.2", "explain 10.96.0.12:80 --from "+client.address, "explain 10.96.0.11:81 --from "+client.address]) {
      const { status, stdout, stderr } = await first.inside.run(`${BIN}/weft`, [...words.trim().split(" "), ...(words.startsWith("services") ? [] : places)]);
      console.log(`$ weft ${words}\n${stdout}${stderr}status ${status}`);
    }
}, 60000);
