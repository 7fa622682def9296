/**
 * weftd on real kernels: what a crash, a restart, downtime and an invalid Node do to running traffic and to the kernel.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Mode, type Node, type Pod } from "./harness/cluster.ts";
import { inOrder } from "./harness/in-order.ts";
import { eventually, Running } from "./harness/process.ts";
import { measureReach } from "./harness/traffic.ts";

/** Long enough for notifications and debounced passes to complete. */
const QUIET_MS = 1500;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.concurrent.each<Mode>(["vxlan", "host-gw"])("%s", (mode) => {
  inOrder();
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let first: Node;
  let second: Node;
  let pods: readonly [Pod, Pod];

  beforeAll(async () => {
    cluster = await Cluster.start(mode, cleanup);
    first = await cluster.addNode(1);
    second = await cluster.addNode(2);
    await eventually(async () => expect((await cluster.peerRoutes(first)).size).toBe(1));
    await eventually(async () => expect((await cluster.peerRoutes(second)).size).toBe(1));
    pods = [await cluster.addPod(first, "a"), await cluster.addPod(second, "b")];
  });

  afterAll(() => cleanup.run());

  test("pods reach each other and are seen with their own addresses", async () => {
    const reach = await measureReach(cluster);
    expect(reach.failures).toEqual([]);
    expect(reach).toMatchObject({ pairs: 2, reached: 2, nodePairs: 4, nodesReached: 4 });
    for (const { name, node, namespace } of pods) await node.runtime.check(name, namespace.path);
  });

  test("the kernel holds the mode's devices and routes, as an independent tool shows", async () => {
    const routes = await first.inside.json<{ dst: string; gateway: string; dev: string; flags: string[] }[]>("ip", [
      "-j",
      "route",
      "show",
      "proto",
      "119",
    ]);
    if (mode === "host-gw") {
      expect(routes).toMatchObject([{ dst: "10.244.2.0/24", gateway: second.address, dev: "eth0" }]);
      return;
    }
    expect(routes).toMatchObject([
      { dst: "10.244.2.0/24", gateway: "10.244.2.0", dev: "flannel.1", flags: ["onlink"] },
    ]);
    const [device] = await first.inside.json<{ mtu: number; address: string; linkinfo: { info_data: object } }[]>(
      "ip",
      ["-j", "-d", "link", "show", "flannel.1"],
    );
    expect(device).toMatchObject({
      mtu: 1450,
      linkinfo: { info_data: { id: 1, port: 8472, local: first.address, learning: false } },
    });
    const [peer] = await second.inside.json<{ address: string }[]>("ip", ["-j", "link", "show", "flannel.1"]);
    const neighbours = await first.inside.json<object[]>("ip", ["-j", "neigh", "show", "dev", "flannel.1"]);
    expect(neighbours).toMatchObject([{ dst: "10.244.2.0", lladdr: peer?.address, state: ["PERMANENT"] }]);
    const fdb = await first.inside.json<object[]>("bridge", ["-j", "fdb", "show", "dev", "flannel.1"]);
    expect(fdb).toMatchObject([{ mac: peer?.address, dst: second.address, flags: ["self"], state: "permanent" }]);
  });

  test("/debug/state shows peers, kernel and difference at this moment", async () => {
    const state = async () => JSON.parse((await cluster.status(first, "/debug/state")).body);
    const [gateway, name] = mode === "vxlan" ? ["10.244.2.0", "flannel.1"] : [second.address, "eth0"];
    expect(await state()).toMatchObject({
      node: { name: "n1", subnets: ["10.244.1.0/24"] },
      peers: [{ name: "n2", subnets: ["10.244.2.0/24"], addresses: [second.address] }],
      desired: { routes: [{ destination: "10.244.2.0/24", gateway }] },
      observed: { routes: [{ destination: "10.244.2.0/24", gateway, protocol: 119 }] },
      difference: { requests: [], conflicts: [] },
    });
    expect((await state()).observed.links.map((link: { name: string }) => link.name)).toContain(name);
  });

  test("a pod's packet to the outside has the node's address, and to a pod its own", async () => {
    // The other node's own address is "outside" in vxlan; in host-gw that node has a route back to pods.
    const seen = await seenByNode(second, pods[0]);
    expect(seen).toBe(mode === "vxlan" ? first.address : pods[0].address);
  });

  test("kill -9 during traffic loses no packet, and a restart changes nothing in the kernel", async () => {
    // The kernel's own notifications during duplicate address detection would also be recorded.
    await eventually(async () => expect(await first.inside.succeed("ip", ["address", "show", "tentative"])).toBe(""));
    const ping = pods[0].inside.run("ping", ["-n", "-i", "0.01", "-c", "400", "-W", "2", pods[1].address]);
    await pause(500);
    await first.weftd.stop("SIGKILL");
    await pause(1000);
    const watching = new Cleanup();
    const monitors = [
      new Running(first.namespace, "ip", ["-o", "monitor", "link", "address", "route", "rule"], watching),
      new Running(first.namespace, "nft", ["monitor"], watching),
      new Running(first.namespace, "bridge", ["monitor", "fdb"], watching),
    ];
    await pause(300);
    cluster.restartWeftd(first);
    await cluster.ready(first);
    await pause(QUIET_MS);
    await watching.run();
    const { stdout } = await ping;
    expect(stdout).toMatch(/400 packets transmitted, 400 received, 0% packet loss/);
    // The kernel sends notifications of a pod's port when its carrier settles; they are not weftd's. If another test is
    // making a namespace at that moment, ip reports that it is not one yet.
    const told = monitors
      .flatMap(({ output }) => output.split("\n"))
      .filter((line) => line !== "" && !/ veth[0-9a-f]{8}@|^Error: Peer netns reference is invalid\.$/.test(line));
    expect(told).toEqual([]);
  });

  test("the executables work while weftd is dead, and restore missing objects", async () => {
    await first.weftd.stop("SIGKILL");
    const [route] = await cluster.peerRoutes(first);
    await first.inside.succeed("ip", ["route", "del", route?.[0] ?? ""]);
    if (mode === "vxlan") await first.inside.succeed("ip", ["link", "del", "flannel.1"]);
    const pod = await cluster.addPod(first, "late");
    expect(await pod.inside.pings(pods[1].address)).toBe(true);
    await first.runtime.status();
    await cluster.removePod(pod);
    cluster.restartWeftd(first);
    await cluster.ready(first);
  });

  test.each(["route", "device"])("weftd restores a removed %s", async (what) => {
    const before = await cluster.peerRoutes(first);
    if (what === "device" && mode === "vxlan") await first.inside.succeed("ip", ["link", "del", "flannel.1"]);
    else await first.inside.succeed("ip", ["route", "del", [...before.keys()][0] ?? ""]);
    await eventually(async () => expect(await cluster.peerRoutes(first)).toEqual(before));
    expect(await pods[0].inside.pings(pods[1].address)).toBe(true);
  });

  test("a Node that claims all addresses gets no route, and other Nodes keep theirs", async () => {
    await cluster.api("POST", "/api/v1/nodes", {
      ...{ apiVersion: "v1", kind: "Node", metadata: { name: "greedy" } },
      spec: { podCIDR: "0.0.0.0/0", podCIDRs: ["0.0.0.0/0"] },
      status: { addresses: [{ type: "InternalIP", address: "192.0.2.9" }] },
    });
    await first.weftd.says(/greedy: its subnet 0\.0\.0\.0\/0 is outside/);
    expect([...(await cluster.peerRoutes(first)).keys()]).toEqual(["10.244.2.0/24"]);
    await cluster.api("DELETE", "/api/v1/nodes/greedy");
  });

  test("a peer removed while weftd was down is pruned at its start; another program's route stays", async () => {
    const third = await cluster.addNode(3);
    await eventually(async () => expect((await cluster.peerRoutes(first)).size).toBe(2));
    await first.weftd.stop("SIGKILL");
    await first.inside.succeed("ip", ["route", "add", "10.99.0.0/24", "via", second.address]);
    await cluster.deleteNode(third);
    expect((await cluster.peerRoutes(first)).size).toBe(2);
    cluster.restartWeftd(first);
    await eventually(async () => expect([...(await cluster.peerRoutes(first)).keys()]).toEqual(["10.244.2.0/24"]));
    expect(await first.inside.succeed("ip", ["route", "show", "10.99.0.0/24"])).toContain(`via ${second.address}`);
    await cluster.stopNode(third);
  });

  test("the conflist is written only when its content changed, and stays when weftd stops", async () => {
    const before = cluster.conflistText(first);
    const stamp = await first.inside.succeed("stat", ["-c", "%i %Y", `${first.confDir}/05-weft.conflist`]);
    await first.weftd.stop("SIGTERM");
    expect(cluster.conflistText(first)).toBe(before);
    cluster.restartWeftd(first);
    await cluster.ready(first);
    expect(await first.inside.succeed("stat", ["-c", "%i %Y", `${first.confDir}/05-weft.conflist`])).toBe(stamp);
    expect((await first.inside.succeed("ls", [first.confDir])).trim()).toBe("05-weft.conflist");
  });
});

/** The source address with which a node's own server sees a pod. */
async function seenByNode(node: Node, pod: Pod): Promise<string> {
  await node.inside.listen(7008);
  return pod.inside.seenBy(node.address, 7008);
}

test("a node without a subnet is not ready, reports why, and has no conflist", async () => {
  const cleanup = new Cleanup();
  try {
    const cluster = await Cluster.start("vxlan", cleanup);
    const node = await cluster.startUnassigned("bare", 7);
    await eventually(async () => {
      const { status, body } = await cluster.readyz(node);
      expect(status).toBe(503);
      expect(body).toMatch(/\[-\] subnet: .*podCIDR/);
    });
    expect(await node.inside.succeed("ls", [node.confDir])).toBe("");
    await expect(node.runtime.status()).rejects.toThrow("the node cannot serve");
    await cluster.api("PATCH", "/api/v1/nodes/bare", {
      spec: { podCIDR: "10.244.7.0/24", podCIDRs: ["10.244.7.0/24"] },
    });
    await cluster.ready(node);
    await node.runtime.status();
  } finally {
    await cleanup.run();
  }
});
