/** What weftd sees to on its own node so that pods' packets come through: settings, its nftables, other firewalls' chains. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";

/** A Service's address, which only exists in rules. */
const CLUSTER_IP = "10.96.0.1";
const SERVICE_PORT = 80;

const cleanup = new Cleanup();
let cluster: Cluster;
let node: Node;
let first: Pod;
let second: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup);
  node = await cluster.addNode(1);
  const other = await cluster.addNode(2);
  await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(1));
  await eventually(async () => expect((await cluster.peerRoutes(other)).size).toBe(1));
  first = await cluster.addPod(node, "a");
  second = await cluster.addPod(node, "b");
});

afterAll(() => cleanup.run());

const shell = (script: string) => node.inside.succeed("sh", ["-c", script]);

test("a pod reaches a Service whose pod is on its own bridge", async () => {
  const calls = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  const rule = `ip daddr ${CLUSTER_IP} tcp dport ${SERVICE_PORT} dnat to ${second.address}:${ECHO_PORT}`;
  await shell(`nft 'table ip services { chain prerouting { type nat hook prerouting priority dstnat; ${rule}; }; }'`);
  const call = () => first.inside.seenBy(CLUSTER_IP, SERVICE_PORT, { timeoutMs: 1000 });
  expect(await call()).toBe(first.address);

  await node.weftd.stop("SIGTERM");
  await shell(`echo 0 > ${calls}`);
  // The answer comes from an address that the pod has never called.
  await expect(call()).rejects.toThrow(/no answer/);
  cluster.restartWeftd(node);
  await cluster.ready(node);
  expect((await shell(`cat ${calls}`)).trim()).toBe("1");
  expect(await call()).toBe(first.address);
  await shell("nft delete table ip services");
});
