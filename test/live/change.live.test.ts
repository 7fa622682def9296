/** Changes under running pods: addresses, interfaces, MTU, VTEP MACs, Nodes. Unaffected connections continue. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Mode, type Node } from "./harness/cluster.ts";
import { inOrder } from "./harness/in-order.ts";
import { eventually } from "./harness/process.ts";
import { Pings } from "./harness/roll.ts";
import { measureReach } from "./harness/traffic.ts";

const PING_MS = 10;
const FLANNEL = "flannel.alpha.coreos.com";

interface Device {
  readonly address: string;
  readonly mtu: number;
  readonly linkinfo: { readonly info_data: { readonly local: string; readonly link: string } };
}

describe.concurrent.each<Mode>(["vxlan", "host-gw"])("%s", (mode) => {
  inOrder();
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let first: Node;
  let second: Node;

  beforeAll(async () => {
    cluster = await Cluster.start(mode, cleanup);
    [first, second] = [await cluster.addNode(1), await cluster.addNode(2)];
    for (const node of cluster.nodes) {
      await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(1));
      await cluster.addPod(node, "p");
    }
  });
  afterAll(() => cleanup.run());

  const device = async ({ inside }: Node) => {
    const [found] = await inside.json<Device[]>("ip", ["-j", "-d", "link", "show", "flannel.1"]);
    return found;
  };
  const statusOf = (node: Node, address: string) =>
    cluster.api("PATCH", `/api/v1/nodes/${node.name}/status`, {
      status: { addresses: [{ type: "InternalIP", address }] },
    });
  const reached = () => eventually(async () => expect((await measureReach(cluster)).failures).toEqual([]), 10_000);
  /** Waits until `node` sends packets for the other node's pods to the address `to`. */
  const leadsTo = (node: Node, to: string) =>
    eventually(async () => {
      if (mode === "host-gw") return expect([...(await cluster.peerRoutes(node)).values()]).toEqual([to]);
      const fdb = await node.inside.json<{ dst: string }[]>("bridge", ["-j", "fdb", "show", "dev", "flannel.1"]);
      expect(fdb.map(({ dst }) => dst)).toEqual([to]);
    });

  test("no packet is lost if a node gets a new address before it loses the old one", async () => {
    const pings = new Pings(cluster, PING_MS, cleanup);
    // As systemd sets it: the removal of a primary address keeps the secondary ones.
    await first.inside.succeed("sysctl", ["-qw", "net.ipv4.conf.eth0.promote_secondaries=1"]);
    await first.inside.succeed("ip", ["address", "add", "192.0.2.101/24", "dev", "eth0"]);
    await statusOf(first, "192.0.2.101");
    await leadsTo(second, "192.0.2.101");
    await eventually(async () => {
      const { metadata } = (await cluster.api("GET", "/api/v1/nodes/n1")) as { metadata: { annotations: object } };
      expect(metadata.annotations).toMatchObject({ [`${FLANNEL}/public-ip`]: "192.0.2.101" });
    });
    const isUsed = async () => expect((await device(first))?.linkinfo.info_data.local).toBe("192.0.2.101");
    if (mode === "vxlan") await eventually(isUsed, 10_000);
    await first.inside.succeed("ip", ["address", "del", "192.0.2.1/24", "dev", "eth0"]);
    await reached();
    const { lost, sent } = await pings.stop();
    console.log(`${mode}: another address: ${lost} of ${sent} pings lost, ${lost * PING_MS} ms in both directions`);
    expect(lost).toBe(0);
  });

  test("an address that is removed and restored within a moment, as by DHCP, changes nothing", async () => {
    const before = await cluster.peerRoutes(second);
    await first.inside.succeed("ip", ["address", "del", "192.0.2.101/24", "dev", "eth0"]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await cluster.peerRoutes(second)).toEqual(before);
    await first.inside.succeed("ip", ["address", "add", "192.0.2.101/24", "dev", "eth0"]);
    await cluster.ready(first);
    await reached();
    expect(await cluster.peerRoutes(second)).toEqual(before);
  });

  test("the data path follows an address to another interface", async () => {
    await cluster.plugInSecond(first);
    for (const [verb, name] of [
      ["del", "eth0"],
      ["add", "eth1"],
    ] as const)
      await first.inside.succeed("ip", ["address", verb, "192.0.2.101/24", "dev", name]);
    await first.weftd.says(/"interface":"eth1".*InternalIP 192\.0\.2\.101.*underlay chosen/);
    await cluster.ready(first);
    if (mode === "vxlan")
      await eventually(async () => expect((await device(first))?.linkinfo.info_data.link).toBe("eth1"));
    await reached();
  });

  test("the pods' MTU follows the underlay's", async () => {
    const overhead = mode === "vxlan" ? 50 : 0;
    for (const mtu of [1400, 1500]) {
      await first.inside.succeed("ip", ["link", "set", "eth1", "mtu", String(mtu)]);
      await eventually(async () => {
        expect(JSON.parse(cluster.conflistText(first)).plugins[0].mtu).toBe(mtu - overhead);
        if (mode === "vxlan") expect((await device(first))?.mtu).toBe(mtu - overhead);
      });
    }
    await reached();
  });

  test("a Node that is deleted and created again gets its routes back, and keeps its own data path throughout", async () => {
    const annotations = { [`${FLANNEL}/backend-type`]: mode };
    const { spec, status } = (await cluster.api("GET", "/api/v1/nodes/n2")) as { spec: object; status: object };
    await cluster.api("DELETE", "/api/v1/nodes/n2");
    await eventually(async () => expect((await cluster.peerRoutes(first)).size).toBe(0));
    expect((await cluster.peerRoutes(second)).size).toBe(1);
    await cluster.api("POST", "/api/v1/nodes", {
      ...{ apiVersion: "v1", kind: "Node", metadata: { name: "n2" } },
      ...{ spec, status },
    });
    await eventually(async () => {
      const { metadata } = (await cluster.api("GET", "/api/v1/nodes/n2")) as { metadata: { annotations?: object } };
      expect(metadata.annotations).toMatchObject(annotations);
    });
    await cluster.ready(second);
    await reached();
  });

  if (mode === "host-gw") return;

  test("weftd restores a changed VTEP MAC and all entries that depend on it", async () => {
    const { address } = (await device(first)) ?? { address: "" };
    await first.inside.succeed("ip", ["link", "set", "flannel.1", "address", "02:00:00:00:00:99"]);
    await eventually(async () => expect((await device(first))?.address).toBe(address));
    await reached();
  });

  test("a peer's new VTEP MAC is programmed before the old one is removed", async () => {
    const announce = (mac: string) => ({
      [`${FLANNEL}/kube-subnet-manager`]: "true",
      [`${FLANNEL}/backend-type`]: "vxlan",
      [`${FLANNEL}/backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}`,
      [`${FLANNEL}/public-ip`]: "192.0.2.9",
    });
    await cluster.api("POST", "/api/v1/nodes", {
      ...{ apiVersion: "v1", kind: "Node", metadata: { name: "n9", annotations: announce("0a:00:00:00:00:09") } },
      spec: { podCIDR: "10.244.9.0/24", podCIDRs: ["10.244.9.0/24"] },
      status: { addresses: [{ type: "InternalIP", address: "192.0.2.9" }] },
    });
    const entries = async () => {
      const fdb = await first.inside.json<{ mac: string; dst: string }[]>("bridge", [
        ...["-j", "fdb", "show", "dev", "flannel.1"],
      ]);
      const neighbours = await first.inside.json<{ lladdr: string }[]>("ip", ["-j", "neigh", "show", "10.244.9.0"]);
      const macs = fdb.filter(({ dst }) => dst === "192.0.2.9").map(({ mac }) => mac);
      return [...macs, ...neighbours.map(({ lladdr }) => lladdr)];
    };
    await eventually(async () => expect(await entries()).toEqual(["0a:00:00:00:00:09", "0a:00:00:00:00:09"]));
    await cluster.api("PATCH", "/api/v1/nodes/n9", { metadata: { annotations: announce("0a:00:00:00:00:99") } });
    await eventually(async () => expect(await entries()).toEqual(["0a:00:00:00:00:99", "0a:00:00:00:00:99"]));
    const sent = first.weftd.output.split("\n").find((line) => line.includes("bridge fdb replace 0a:00:00:00:00:99"));
    expect(sent).toMatch(/fdb replace 0a:00:00:00:00:99.*neigh replace 10\.244\.9\.0.*fdb del 0a:00:00:00:00:09/);
    await cluster.api("DELETE", "/api/v1/nodes/n9");
  });
});
