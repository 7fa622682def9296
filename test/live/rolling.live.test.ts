/** A cluster changes its backend, its VNI and its port node by node, and loses no packet. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Node } from "./harness/cluster.ts";
import { eventually, PATIENCE } from "./harness/process.ts";
import { type Backend, Pings, roll, type Way } from "./harness/roll.ts";
import { measureReach } from "./harness/traffic.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const cleanup = new Cleanup();
let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup, { families: "dual" });
  for (const number of [1, 2, 3]) await cluster.addNode(number);
  for (const node of cluster.nodes) {
    await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(4));
    await cluster.addPod(node, "p");
  }
});
afterAll(() => cleanup.run());

interface Device {
  readonly ifname: string;
  readonly linkinfo: { readonly info_data: { readonly id: number; readonly port: number } };
}

/** A node's VXLAN devices: name, VNI, port. */
async function devices({ inside }: Node): Promise<string[]> {
  const held = await inside.json<Device[]>("ip", ["-j", "-d", "link", "show", "type", "vxlan"]);
  return held.map(({ ifname, linkinfo: { info_data } }) => `${ifname} ${info_data.id} ${info_data.port}`).sort();
}

test.each<[Backend, Way, readonly string[]]>([
  [{ Type: "host-gw" }, "restart", []],
  [{ Type: "auto" }, "reload", ["flannel-v6.1 1 8472", "flannel.1 1 8472"]],
  [{ Type: "vxlan" }, "restart", ["flannel-v6.1 1 8472", "flannel.1 1 8472"]],
  [{ Type: "vxlan", VNI: 2 }, "reload", ["flannel-v6.2 2 8472", "flannel.2 2 8472"]],
  [{ Type: "vxlan", VNI: 2, Port: 4789 }, "restart", ["weft-v6.2 2 4789", "weft.2 2 4789"]],
  [{ Type: "host-gw" }, "reload", []],
  [{ Type: "vxlan", VNI: 3, Port: 4789 }, "reload", ["flannel-v6.3 3 4789", "flannel.3 3 4789"]],
])("a change to %o by %s loses nothing", async (backend, way, wanted) => {
  const pings = new Pings(cluster, 10, cleanup);
  await roll(cluster, backend, way);
  for (const node of cluster.nodes)
    await eventually(async () => expect(await devices(node)).toEqual(expect.arrayContaining([...wanted])));
  for (const { name, node, namespace } of cluster.pods) await node.runtime.check(name, namespace.path);
  // Also covers what happens after the change, however fast it was.
  await pause(500 * PATIENCE);
  const { failures, lost, sent } = await pings.stop();
  expect(failures).toEqual([]);
  expect(lost).toBe(0);
  expect(sent).toBeGreaterThan(12 * 50);
  expect((await measureReach(cluster)).failures).toEqual([]);
});

test("unused devices are removed after a while, and nothing is lost", async () => {
  const pings = new Pings(cluster, 10, cleanup);
  for (const node of cluster.nodes)
    await eventually(
      async () => expect(await devices(node), node.weftd.output).toEqual(["flannel-v6.3 3 4789", "flannel.3 3 4789"]),
      60_000,
      500,
    );
  expect((await pings.stop()).failures).toEqual([]);
});
