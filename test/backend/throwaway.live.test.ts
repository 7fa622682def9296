/**
 * A new backend is one folder and one line. Adds a throw-away backend to a copy of the tree and builds it. Two nodes
 * then connect their pods by it, also with a node that uses vxlan, and the `weft` command supports it.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { play } from "../demo/episode.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import type { Cluster, Node, Pod } from "../live/harness/cluster.ts";
import { eventually, PATIENCE } from "../live/harness/process.ts";
import { measureReach } from "../live/harness/traffic.ts";
import { addBackend, buildTree, changesOf, copyTree } from "./tree.ts";

const NAME = "throwaway";
const cleanup = new Cleanup();
let tree = "";
let bin = "";
let cluster: Cluster;
let node: Node;
let own: Pod;
let remote: Pod;

beforeAll(async () => {
  tree = copyTree();
  cleanup.push(async () => rmSync(tree, { recursive: true }));
  addBackend(tree, join(import.meta.dirname, NAME), NAME);
  bin = buildTree(tree);
}, 120_000 * PATIENCE);

afterAll(() => cleanup.run());

const weft = async (subcommand: string, ...args: string[]) => {
  const places = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir];
  const { status, stdout, stderr } = await node.inside.run(`${bin}/weft`, [
    subcommand,
    ...args,
    "-o",
    "json",
    ...places,
  ]);
  expect(stderr).toBe("");
  return { status, json: JSON.parse(stdout) };
};
const findings = async (...args: string[]) =>
  (await weft("doctor", "--only", `${NAME}-tag,data-path`, ...args)).json.findings;
const deviceTo = async ({ inside }: Node, { address }: Pod) => {
  const [route] = await inside.json<{ dev: string }[]>("ip", ["-j", "route", "get", address]);
  return route?.dev;
};
const reachesAll = () =>
  eventually(async () => {
    const { failures, pairs, reached } = await measureReach(cluster);
    expect(failures).toEqual([]);
    expect(reached).toBe(pairs);
  }, 20_000);

test("the backend is one folder and one line", () => {
  const changes = changesOf(tree);
  expect(changes.filter(({ file }) => !file.startsWith(`pkg/backend/${NAME}/`))).toEqual([
    { file: "pkg/backend/registry.ts", added: 1, removed: 0 },
  ]);
  expect(changes.length).toBeGreaterThan(1);
});

test(
  "the demo runs with it: all pods of two nodes reach each other, and those of an added node",
  async () => {
    const progress = { step: () => undefined };
    const options = { mode: NAME, nodes: 2, podsPerNode: 1, families: "ipv4", attach: "bridge", bin } as const;
    const { first, second, ...episode } = await play(options, cleanup, progress);
    expect([first.failures, first.reached, first.pairs]).toEqual([[], 2, 2]);
    expect([second.failures, second.reached, second.pairs]).toEqual([[], 2, 2]);
    cluster = episode.cluster;
    node = cluster.nodes[0] as Node;
    [own, remote] = cluster.pods as [Pod, Pod];
  },
  120_000 * PATIENCE,
);

test("packets pass its device with its overhead, and the node announces it in its own format", async () => {
  const [device] = await node.inside.json<{ mtu: number; ifalias: string }[]>("ip", ["-j", "link", "show", "throw0"]);
  expect(device).toMatchObject({ mtu: 1400, ifalias: `weft:device/${NAME}` });
  const [eth0] = await own.inside.json<{ mtu: number }[]>("ip", ["-j", "link", "show", "eth0"]);
  expect(eth0?.mtu).toBe(1400);
  const { metadata } = (await cluster.api("GET", `/api/v1/nodes/${node.name}`)) as {
    metadata: { annotations: Record<string, string> };
  };
  expect(metadata.annotations).toMatchObject({
    "flannel.alpha.coreos.com/backend-type": NAME,
    "flannel.alpha.coreos.com/backend-data": expect.stringMatching(/^\{"Station":"[0-9a-f:]{17}","Tag":1\}$/),
  });
  expect(await node.inside.json("ip", ["-j", "link", "show", "type", "vxlan"])).toHaveLength(1);
});

test("status, explain and doctor name it", async () => {
  const { json } = await weft("status");
  expect(json).toMatchObject({
    node: { backend: NAME, tag: 1 },
    peers: [{ ways: [NAME], isProgrammed: true, isAnswering: true }],
  });
  const explained = await weft("explain", remote.address, "--from", own.address);
  expect(explained.json.hops.map(({ text }: { text: string }) => text)).toContainEqual(
    expect.stringMatching(/^in a throw-away packet \(tag 1\) to 192\.0\.2\.\d+, out by eth0$/),
  );
  const { stdout } = await node.inside.run(`${bin}/weft`, ["doctor", "--list"]);
  expect(stdout).toMatch(/throwaway-tag +peers have this node's tag/);
  expect(await findings()).toEqual([]);
});

test("net-conf.json accepts its keys, and rejects invalid values", async () => {
  const other = remote.node;
  cluster.configure(other, { Type: NAME, Tag: 1001 });
  await other.weftd.says(/Backend\.Tag: expected an integer from 1 to 1000, got 1001/);
  cluster.configure(other, { Type: NAME, Tag: 8, MTU: 5 });
  await other.weftd.says(/Backend\.MTU is unknown and ignored/);
  await eventually(async () =>
    expect(await findings()).toMatchObject([
      { check: `${NAME}-tag`, seen: `${other.name} has the tag 8, and this node 1` },
    ]),
  );
  cluster.configure(other, { Type: NAME });
  await reachesAll();
});

test("a node with vxlan and one with this backend send to each other as each announces", async () => {
  cluster.configure(remote.node, { Type: "vxlan" });
  await eventually(async () => {
    const { json } = await weft("status");
    expect(json.peers).toMatchObject([{ backend: "vxlan", ways: ["vxlan"], isProgrammed: true }]);
  }, 20_000);
  expect([await deviceTo(node, remote), await deviceTo(remote.node, own)]).toEqual(["flannel.1", "throw0"]);
  await reachesAll();
  cluster.configure(remote.node, { Type: NAME });
  await reachesAll();
});

test("cleanup removes its device", async () => {
  await node.weftd.stop("SIGTERM");
  const args = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir, "--dry-run"];
  const { stdout, stderr } = await node.inside.run(`${bin}/weft`, ["cleanup", ...args]);
  expect(stdout, stderr).toMatch(/ip link del throw0/);
});
