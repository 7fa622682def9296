/** What weftd sees to on its own node so that pods' packets come through: settings, its nftables, other firewalls' chains. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";

/** A Service's address, which only exists in rules. */
const CLUSTER_IP = "10.96.0.1";
const SERVICE_PORT = 80;

/** Addresses of the other node: one of those that pods reach under their own, and one that is nobody's. */
const KNOWS_THE_WAY = "192.0.2.12";
const NOBODY = "192.0.2.77";

const cleanup = new Cleanup();
let cluster: Cluster;
let node: Node;
let other: Node;
let first: Pod;
let second: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup);
  cluster.weftdEnvironment = { WEFTD_NON_MASQUERADE_CIDRS: `198.51.100.0/24,${KNOWS_THE_WAY}/32` };
  node = await cluster.addNode(1);
  other = await cluster.addNode(2);
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

test("pods are masqueraded to the outside, but for the networks that know the way back", async () => {
  await other.inside.succeed("ip", ["address", "add", `${KNOWS_THE_WAY}/24`, "dev", "eth0"]);
  await other.inside.listen(7008);
  expect(await first.inside.seenBy(other.address, 7008)).toBe(node.address);
  expect(await first.inside.seenBy(KNOWS_THE_WAY, 7008)).toBe(first.address);
});

/** A datagram with a frame for the VTEP, from this address of the other node. */
const SEND = `
  const { createSocket } = require("node:dgram");
  const [from, to] = process.argv.slice(1);
  const header = Buffer.from("0800000000000100", "hex");
  const frame = Buffer.concat([Buffer.from("ffffffffffff0200000000770806", "hex"), Buffer.alloc(46)]);
  const socket = createSocket("udp4");
  socket.bind(0, from, () => socket.send(Buffer.concat([header, frame]), 8472, to, () => socket.close()));
`;

test("VXLAN packets are taken from nodes, and from nobody else", async () => {
  await other.inside.succeed("ip", ["address", "add", `${NOBODY}/24`, "dev", "eth0"]);
  const send = (from: string) => other.inside.succeed(process.execPath, ["-e", SEND, from, node.address]);
  const received = async () => {
    const [link] = await node.inside.json<{ stats64: { rx: { packets: number } } }[]>("ip", [
      ...["-s", "-j", "link", "show", "flannel.1"],
    ]);
    return link?.stats64.rx.packets ?? 0;
  };
  const before = await received();
  await send(other.address);
  expect(await received()).toBeGreaterThan(before);
  const then = await received();
  await send(NOBODY);
  expect(await received()).toBe(then);
  expect(await shell("nft list chain inet weft input")).toMatch(/vxlan-senders4 counter packets 1 .* drop/);
});

test("whoever sees the route to a new node finds its packets let in already", async () => {
  const adding = cluster.addNode(3);
  const seen = "ip route show 10.244.3.0/24; nft list set inet weft vxlan-senders4";
  const shown = await eventually(async () => {
    const text = await shell(seen);
    expect(text).toMatch(/^10\.244\.3\.0\/24 /);
    return text;
  });
  expect(shown).toContain("192.0.2.3");
  await adding;
});
