/** How weftd reports a problem with a single peer, and that the problem has no effect on this node. */
import { afterEach, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Mode, type Node } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";

let cleanup = new Cleanup();
afterEach(async () => {
  await cleanup.run();
  cleanup = new Cleanup();
});

async function start(mode: Mode): Promise<readonly [Cluster, Node]> {
  const cluster = await Cluster.start(mode, cleanup);
  const node = await cluster.addNode(1);
  await cluster.addNode(2);
  await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(1));
  return [cluster, node];
}

const addNode = (cluster: Cluster, number: number, address: string) =>
  cluster.api("POST", "/api/v1/nodes", {
    ...{ apiVersion: "v1", kind: "Node", metadata: { name: `n${number}` } },
    spec: { podCIDR: `10.244.${number}.0/24`, podCIDRs: [`10.244.${number}.0/24`] },
    status: { addresses: [{ type: "InternalIP", address }] },
  });

const metrics = async ({ inside }: Node) => (await inside.ask("http://127.0.0.1:9468/metrics")).body;

const events = async (cluster: Cluster) =>
  ((await cluster.api("GET", "/api/v1/namespaces/default/events")) as { items: object[] }).items;

test("host-gw: reports by name a peer off the link and a peer that the kernel rejects", async () => {
  const [cluster, node] = await start("host-gw");
  await addNode(cluster, 8, "192.0.2.255");
  await addNode(cluster, 9, "198.51.100.9");
  await eventually(async () => {
    const { status, body } = await cluster.readyz(node);
    expect(body).toMatch(/^\[!\] peers: n9: 198\.51\.100\.9 is not on this node's link: .*10\.244\.9\.0\/24/m);
    expect(body).toMatch(/^\[!\] peers: n8: ip route add 10\.244\.8\.0\/24 via 192\.0\.2\.255/m);
    expect(body).toMatch(/^\[\+\] reconcile: 1 of 3 peers connected/m);
    expect(status).toBe(200);
  });
  expect([...(await cluster.peerRoutes(node)).keys()]).toEqual(["10.244.2.0/24"]);
  const exposition = await metrics(node);
  expect(exposition).toContain('weft_peer_trouble{peer="n9",reason="OffLink"} 1');
  expect(exposition).toContain('weft_peer_trouble{peer="n8",reason="Refused"} 1');
  await eventually(async () =>
    expect(await events(cluster)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          ...{ type: "Warning", reason: "PeerOffLink", message: expect.stringContaining("n9: 198.51.100.9") },
          involvedObject: expect.objectContaining({ kind: "Node", name: "n1" }),
        }),
      ]),
    ),
  );
  for (const name of ["n8", "n9"]) await cluster.api("DELETE", `/api/v1/nodes/${name}`);
  await eventually(async () => expect((await cluster.readyz(node)).body).not.toContain("[!]"));
});

test("auto: reports strict reverse path filtering with a remedy that works", async () => {
  const [cluster, node] = await start("auto");
  expect((await cluster.readyz(node)).body).not.toContain("rp_filter");
  await node.inside.succeed("sysctl", ["-qw", "net.ipv4.conf.eth0.rp_filter=1"]);
  await node.weftd.stop("SIGTERM");
  cluster.restartWeftd(node);
  await cluster.ready(node);
  const { body } = await cluster.readyz(node);
  const [, remedy = ""] =
    /\[!\] rp_filter: eth0 has strict reverse path filtering.*; run: sysctl -w (\S+)/.exec(body) ?? [];
  await node.inside.succeed("sysctl", ["-qw", remedy]);
  await cluster.configure(node, { Type: "auto", VNI: 1 });
  await eventually(async () => expect((await cluster.readyz(node)).body).not.toContain("rp_filter"));
});
