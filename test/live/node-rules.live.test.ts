/** The node's settings, nftables and other firewalls' chains that weftd maintains so that pods' packets pass. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { eventually, Running } from "./harness/process.ts";

/** A Service's address, which exists only in rules. */
const CLUSTER_IP = "10.96.0.1";
const SERVICE_PORT = 80;

/** Addresses of the other node: one that pods reach without masquerade, and one that belongs to no Node. */
const KNOWS_THE_WAY = "192.0.2.12";
const NOBODY = "192.0.2.77";

const cleanup = new Cleanup();
let cluster: Cluster;
let node: Node;
let other: Node;
let first: Pod;
let second: Pod;
let remote: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup);
  cluster.weftdEnvironment = { WEFTD_NON_MASQUERADE_CIDRS: `198.51.100.0/24,${KNOWS_THE_WAY}/32` };
  node = await cluster.addNode(1);
  other = await cluster.addNode(2);
  await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(1));
  await eventually(async () => expect((await cluster.peerRoutes(other)).size).toBe(1));
  first = await cluster.addPod(node, "a");
  second = await cluster.addPod(node, "b");
  remote = await cluster.addPod(other, "c");
});

afterAll(() => cleanup.run());

const shell = (script: string) => node.inside.succeed("sh", ["-c", script]);

test("a pod reaches a Service whose endpoint is on its own bridge", async () => {
  const calls = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  const rule = `ip daddr ${CLUSTER_IP} tcp dport ${SERVICE_PORT} dnat to ${second.address}:${ECHO_PORT}`;
  await shell(`nft 'table ip services { chain prerouting { type nat hook prerouting priority dstnat; ${rule}; }; }'`);
  const call = () => first.inside.seenBy(CLUSTER_IP, SERVICE_PORT, { timeoutMs: 1000 });
  expect(await call()).toBe(first.address);

  await node.weftd.stop("SIGTERM");
  await shell(`echo 0 > ${calls}`);
  // The answer comes from an address that the pod did not connect to.
  await expect(call()).rejects.toThrow(/no answer/);
  cluster.restartWeftd(node);
  await cluster.ready(node);
  expect((await shell(`cat ${calls}`)).trim()).toBe("1");
  expect(await call()).toBe(first.address);
  await shell("nft delete table ip services");
});

test("pods are masqueraded to the outside, except to networks with a route back", async () => {
  await other.inside.succeed("ip", ["address", "add", `${KNOWS_THE_WAY}/24`, "dev", "eth0"]);
  await other.inside.listen(7008);
  expect(await first.inside.seenBy(other.address, 7008)).toBe(node.address);
  expect(await first.inside.seenBy(KNOWS_THE_WAY, 7008)).toBe(first.address);
});

/** Sends a datagram with a frame for the VTEP from this address of the other node. */
const SEND = `
  const { createSocket } = require("node:dgram");
  const [from, to] = process.argv.slice(1);
  const header = Buffer.from("0800000000000100", "hex");
  const frame = Buffer.concat([Buffer.from("ffffffffffff0200000000770806", "hex"), Buffer.alloc(46)]);
  const socket = createSocket("udp4");
  socket.bind(0, from, () => socket.send(Buffer.concat([header, frame]), 8472, to, () => socket.close()));
`;

test("VXLAN packets are accepted from nodes only", async () => {
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

test("a new node's packets are accepted before its route appears", async () => {
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

/** The chain of a firewall that drops forwarded packets, and the commands that add and remove it. */
const FIREWALLS: readonly (readonly [name: string, chain: string, on: string, off: string])[] = [
  [
    "iptables on nf_tables (docker, ufw)",
    "ip filter CNI-FORWARD",
    "iptables-nft -P FORWARD DROP",
    "nft delete table ip filter",
  ],
  [
    "firewalld's final reject",
    "inet firewalld filter_FORWARD",
    "nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct state established,related accept; reject with icmpx admin-prohibited; }; }'",
    "nft delete table inet firewalld",
  ],
  [
    "a site's own policy",
    "ip site forward",
    "nft 'table ip site { chain forward { type filter hook forward priority -5; policy drop; }; }'",
    "nft delete table ip site",
  ],
];

describe.each(FIREWALLS)("%s", (_name, chain, on, off) => {
  const accepts = async () => {
    const text = await shell(`nft list chain ${chain}`);
    expect(text).toMatch(/ip saddr 10\.244\.0\.0\/16 counter packets \d+ bytes \d+ accept comment "weft:pods 10\.244/);
    expect(text).toMatch(/ip daddr 10\.244\.0\.0\/16 counter packets \d+ bytes \d+ accept comment "weft:pods 10\.244/);
  };

  test("accepts pods' packets as soon as it appears, after each reload, and when weftd starts", async () => {
    await shell(on);
    await eventually(accepts);
    expect(await first.inside.pings(remote.address)).toBe(true);
    expect(await remote.inside.pings(first.address)).toBe(true);
    await shell(`${off}; ${on}`);
    await eventually(accepts);
    await node.weftd.stop("SIGTERM");
    await shell(`${off}; ${on}`);
    expect(await first.inside.pings(remote.address, 1)).toBe(false);
    cluster.restartWeftd(node);
    await cluster.ready(node);
    await accepts();
    expect(await first.inside.pings(remote.address)).toBe(true);
    await shell(off);
  });
});

test("iptables-nft shows, saves and restores a table with weft's rules", async () => {
  await shell("iptables-nft -P FORWARD DROP");
  const rules = () => shell("iptables-nft -S CNI-FORWARD");
  await eventually(async () => expect(await rules()).toContain("-A CNI-FORWARD -s 10.244.0.0/16"));
  const before = await rules();
  expect(before).toContain("-A CNI-FORWARD -d 10.244.0.0/16");
  await shell("iptables-nft-save > saved && iptables-nft-restore < saved; rm saved");
  expect(await rules()).toBe(before);
  expect(await first.inside.pings(remote.address)).toBe(true);
  await shell("nft delete table ip filter");
});

test("iptables-legacy's chain gets its rules through iptables-legacy", async () => {
  await node.weftd.stop("SIGTERM");
  await shell("iptables-legacy -P FORWARD DROP");
  expect(await first.inside.pings(remote.address, 1)).toBe(false);
  cluster.restartWeftd(node);
  await cluster.ready(node);
  expect(await shell("iptables-legacy -S FORWARD")).toMatch(
    /-A FORWARD -d 10\.244\.0\.0\/16 -m comment --comment "weft: pods" -j ACCEPT/,
  );
  expect(await first.inside.pings(remote.address)).toBe(true);
  expect(await remote.inside.pings(first.address)).toBe(true);
});

test("a table that its owner locks is a warning with the command to run", async () => {
  const owner = new Running(
    node.namespace,
    "sh",
    [
      "-c",
      "(echo 'table inet owned { flags owner; chain forward { type filter hook forward priority 20; policy accept; ct mark 7 accept; drop; }; }'; sleep 60) | nft -i",
    ],
    cleanup,
  );
  await eventually(async () =>
    expect((await cluster.readyz(node)).body).toMatch(/owned.*--add-source=10\.244\.0\.0\/16/),
  );
  expect((await cluster.readyz(node)).status).toBe(200);
  // Another program's chain gets its rules nonetheless.
  await shell("nft 'table ip site { chain forward { type filter hook forward priority -5; policy drop; }; }'");
  await eventually(async () => expect(await shell("nft list table ip site")).toContain("weft:pods 10.244.0.0/16"));
  await owner.stop("SIGTERM");
});
