/**
 * Hosts that are not Kubernetes nodes reach ClusterIPs of pods on two nodes: one host on the nodes' link, by plain
 * routes to each node; the other elsewhere, through a node that forwards. The nodes use VXLAN; neither host takes part
 * in it.
 */
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside } from "./harness/inside.ts";
import { OWN_PREFIX } from "./harness/leftovers.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { eventually, Running } from "./harness/process.ts";
import { ServiceObjects } from "./harness/services.ts";

const VIP = { near: "10.96.0.21", far: "10.96.0.22" } as const;
const VIP6 = "fd00:10:96::22";
/** The network of the host whose only connection to the nodes is a link to the first one. */
const OUTSIDE = { network: "198.51.100.0/24", node: "198.51.100.1", host: "198.51.100.2" };

const cleanup = new Cleanup();
let folder = "";
let cluster: Cluster;
let first: Node;
let second: Node;
let near: Pod;
let far: Pod;

beforeAll(async () => {
  folder = makeFolder("outside", cleanup);
  cluster = await Cluster.start("vxlan", cleanup, { families: "dual" });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables", WEFTD_OUTSIDE_HOSTS: OUTSIDE.network };
  first = await cluster.addNode(1);
  second = await cluster.addNode(2);
  near = await cluster.addPod(first, "near");
  far = await cluster.addPod(second, "far");
  const objects = new ServiceObjects(cluster);
  for (const [name, pod] of [
    ["near", near],
    ["far", far],
  ] as const) {
    await objects.create(name, { clusterIP: VIP[name], clusterIPs: [VIP[name]] });
    await objects.createSlice(name, ECHO_PORT, [{ address: pod.address, node: pod.node.name }]);
  }
  await objects.create("far6", { clusterIPs: [VIP6], ipFamilies: ["IPv6"] });
  await objects.createSlice("far6", ECHO_PORT, [{ address: far.addresses[1] ?? "", node: second.name }]);
  await cluster.api("POST", "/apis/networking.k8s.io/v1/servicecidrs", {
    ...{ apiVersion: "networking.k8s.io/v1", kind: "ServiceCIDR", metadata: { name: "kubernetes" } },
    spec: { cidrs: ["10.96.0.0/16", "fd00:10:96::/108"] },
  });
});

afterAll(() => cleanup.run());

interface Host {
  readonly namespace: Namespace;
  readonly inside: Inside;
}

/** A machine with one interface, whose other end is given by `peer`. */
async function makeHost(label: string, address: string, peer: readonly string[]): Promise<Host> {
  const namespace = await makeNamespace(`outside-${label}`, cleanup);
  await succeed("ip", ["-n", namespace.name, "link", "add", "eth0", "type", "veth", "peer", "name", ...peer]);
  await succeed("ip", ["-n", namespace.name, "address", "add", `${address}/24`, "dev", "eth0"]);
  await succeed("ip", ["-n", namespace.name, "link", "set", "eth0", "up"]);
  return { namespace, inside: await Inside.enter(namespace, cleanup) };
}

function startWeftd({ namespace }: Host, label: string, ...more: readonly string[]): Running {
  const state = `${folder}/${label}`;
  mkdirSync(state);
  return new Running(
    namespace,
    "env",
    [
      ...["-u", "NODE_NAME", `${BIN}/weftd`, "--service-proxy", "nftables", "--no-pods"],
      ...["--kubeconfig", cluster.kubeconfig, "--run-dir", `${state}/run`, "--state-dir", state, ...more],
    ],
    cleanup,
  );
}

const routes = async ({ inside }: Host) => {
  const found = await inside.json<{ dst: string; gateway?: string }[]>("ip", ["-j", "route", "show", "proto", "119"]);
  return found.map(({ dst, gateway }) => `${dst} via ${gateway}`).sort();
};
const readyz = ({ inside }: Host) => inside.ask("http://127.0.0.1:9468/readyz");
const reaches = ({ inside }: Host, vip: string) => eventually(() => inside.seenBy(vip, 80, { timeoutMs: 1000 }));

test("a host on the nodes' link reaches them by routes to each node", async () => {
  const link = `${OWN_PREFIX}vxlan-link`;
  const host = await makeHost("link", "192.0.2.100", ["outside", "netns", link]);
  await host.inside.succeed("ip", ["address", "add", "2001:db8::100/64", "dev", "eth0", "nodad"]);
  await cluster.link("ip", ["link", "set", "outside", "master", "br0", "up"]);
  const weftd = startWeftd(host, "link");
  await eventually(async () =>
    expect(await routes(host)).toEqual([
      // The host has no default route, so only this route serves ClusterIPs.
      "10.244.1.0/24 via 192.0.2.1",
      "10.244.2.0/24 via 192.0.2.2",
      "10.96.0.0/16 via 192.0.2.1",
    ]),
  );
  // Before the host has its own rules, the first node translates, and connections get its address.
  await eventually(async () => expect(await reaches(host, VIP.near)).toBe("192.0.2.100"));
  expect(await reaches(host, VIP.far)).toBe("192.0.2.100");
  await eventually(async () => expect(await reaches(host, VIP6)).toBe("2001:db8::100"));
  const routes6 = await host.inside.json<{ dst: string }[]>("ip", ["-6", "-j", "route", "show", "proto", "119"]);
  expect(routes6.map(({ dst }) => dst).sort()).toEqual([
    "fd00:10:244:1::/64",
    "fd00:10:244:2::/64",
    "fd00:10:96::/108",
  ]);
  await eventually(async () => expect(await readyz(host)).toMatchObject({ status: 200 }));

  // Routes are restored as on a node, and follow the Nodes.
  await host.inside.succeed("ip", ["route", "del", "10.244.2.0/24"]);
  await eventually(async () => expect(await routes(host)).toHaveLength(3));
  expect(await reaches(host, VIP.far)).toBe("192.0.2.100");

  const tables = await host.inside.succeed("nft", ["list", "tables"]);
  expect(tables.trim().split("\n")).toEqual(["table inet weft-services"]);
  expect(
    (await host.inside.json<{ ifname: string }[]>("ip", ["-j", "link"])).map(({ ifname }) => ifname).sort(),
  ).toEqual(["eth0", "lo"]);
  const before = await host.inside.succeed("nft", ["-j", "list", "ruleset"]);
  await weftd.stop("SIGTERM");
  expect(await host.inside.succeed("nft", ["-j", "list", "ruleset"])).toBe(before);
  expect(await reaches(host, VIP.near)).toBe("192.0.2.100");
});

test("a host elsewhere reaches them through a node that forwards, with that node's address as its source", async () => {
  const host = await makeHost("far", OUTSIDE.host, ["outside", "netns", first.namespace.name]);
  await first.inside.succeed("ip", ["address", "add", `${OUTSIDE.node}/24`, "dev", "outside"]);
  await first.inside.succeed("ip", ["link", "set", "outside", "up"]);
  // The route to the API server is not weft's.
  const api = `${OWN_PREFIX}vxlan-api`;
  await succeed("ip", ["-n", api, "route", "add", OUTSIDE.network, "via", first.address]);
  await host.inside.succeed("ip", ["route", "add", "192.0.2.250", "via", OUTSIDE.node]);

  const alone = startWeftd(host, "alone");
  await eventually(async () =>
    expect((await readyz(host)).body).toContain(
      "node n2 (192.0.2.2, 2001:db8::2) is on none of this host's links: its pods in 10.244.2.0/24 are unreachable; set --via to a node that forwards to it",
    ),
  );
  expect(await routes(host)).toEqual([]);
  await alone.stop("SIGTERM");

  startWeftd(host, "via", "--via", OUTSIDE.node);
  await eventually(async () =>
    expect(await routes(host)).toEqual(
      ["10.244.1.0/24", "10.244.2.0/24", "10.96.0.0/16"].map((subnet) => `${subnet} via ${OUTSIDE.node}`),
    ),
  );
  const seen = await reaches(host, VIP.far);
  const own = await first.inside.json<{ addr_info: { local: string }[] }[]>("ip", ["-j", "-4", "address"]);
  expect(own.flatMap(({ addr_info }) => addr_info.map(({ local }) => local))).toContain(seen);
  await reaches(host, VIP.near);
});

test("a host with the name of a Node reports it, and changes nothing", async () => {
  const host = await makeHost("node", "192.0.2.101", ["outside2", "netns", `${OWN_PREFIX}vxlan-link`]);
  await cluster.link("ip", ["link", "set", "outside2", "master", "br0", "up"]);
  startWeftd(host, "node", "--node-name", second.name);
  await eventually(async () =>
    expect((await readyz(host)).body).toContain("there is a Node n2, but --no-pods is only for"),
  );
  expect(await routes(host)).toEqual([]);
});

test("the cluster has no Node or Event of these hosts", async () => {
  const { items } = (await cluster.api("GET", "/api/v1/nodes")) as { items: { metadata: { name: string } }[] };
  expect(items.map(({ metadata }) => metadata.name)).toEqual(["n1", "n2"]);
  const { events } = await cluster.standIn();
  expect(JSON.stringify(events)).not.toMatch(/outside|192\.0\.2\.10[01]/);
});
