/**
 * A Node is deleted and registered again with other podCIDRs while its pods run. weftd reports these pods and keeps
 * what they need on their node. Another node may get the old subnets. What was kept is removed with the last of these
 * pods.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, type Node, type Pod } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";

const cleanup = new Cleanup();
let cluster: Cluster;
/** Pods of node 1: two from before the change, one from after. */
let before: Pod[] = [];
let after: Pod;
let far: Pod;
let node: Node;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup, { families: "dual" });
  node = await cluster.addNode(1);
  const other = await cluster.addNode(2);
  await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(2));
  before = [await cluster.addPod(node, "a"), await cluster.addPod(node, "b")];
  far = await cluster.addPod(other, "c");
});
afterAll(() => cleanup.run());

interface Route {
  readonly dst: string;
  readonly dev: string;
  readonly protocol: string;
}

/** The addresses of the pods' bridge, and the routes to the old subnets. */
async function held({ inside }: Node) {
  const links = await inside.json<{ addr_info: { local: string; prefixlen: number; scope: string }[] }[]>("ip", [
    ...["-j", "address", "show", "dev", "cni0"],
  ]);
  const routes: Route[] = [];
  for (const family of ["-4", "-6"])
    routes.push(...(await inside.json<Route[]>("ip", [family, "-j", "route", "show"])));
  const addresses = links.flatMap(({ addr_info }) => addr_info).filter(({ scope }) => scope === "global");
  return {
    addresses: addresses.map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort(),
    old: routes
      // For a single IPv6 address the kernel makes a route, too.
      .filter(({ dst, protocol }) => dst.includes("/") || protocol !== "kernel")
      .filter(({ dst }) => /^10\.244\.1\.|^fd00:10:244:1:/.test(dst))
      .map(({ dst, dev }) => `${dst} ${dev}`)
      .sort(),
  };
}

const NEW_GATEWAYS = ["10.244.5.1/24", "fd00:10:244:5::1/64"];

const outsideAddresses = (pods: readonly Pod[]) => pods.flatMap(({ addresses }) => addresses);

/** Expects that each pod reaches each other one, and that their node reaches each, in both families. */
async function expectReach(pods: readonly Pod[], by: Node = node): Promise<void> {
  const failures: string[] = [];
  for (const to of pods)
    for (const address of to.addresses) {
      if (!(await by.inside.pings(address))) failures.push(`${by.name} -> ${to.name} (${address})`);
      for (const from of pods)
        if (from !== to && !(await from.inside.pings(address)))
          failures.push(`${from.name} -> ${to.name} (${address})`);
    }
  expect(failures).toEqual([]);
}

const doctor = (args: readonly string[]) =>
  node.inside.run(`${BIN}/weft`, [
    ...["doctor", "--quiet", "--run-dir", node.runDir, "--cni-conf-dir", node.confDir, "--cni-bin-dir", BIN, ...args],
  ]);

test("/readyz and an Event name the pods' addresses, and the node stays ready", async () => {
  expect((await cluster.readyz(node)).body).not.toContain("[!]");
  await cluster.renumber(node, 5);
  await eventually(async () => {
    const { status, body } = await cluster.readyz(node);
    expect(status).toBe(200);
    expect(body).toMatch(/^\[\+\] subnet: 10\.244\.5\.0\/24/m);
    const [warning = ""] = /^\[!\] pods: .*$/m.exec(body) ?? [];
    for (const address of outsideAddresses(before)) expect(warning).toContain(address);
  });
  await eventually(async () => {
    const { events } = await cluster.standIn();
    const told = events.filter(({ reason }) => reason === "PodsOutsideSubnet");
    expect(told).toHaveLength(1);
    for (const address of outsideAddresses(before)) expect(told[0]?.message).toContain(address);
  });
});

test("old and new pods reach each other and their node, and new ones reach the other node's pods", async () => {
  after = await cluster.addPod(node, "d");
  expect(after.addresses).toEqual([expect.stringMatching(/^10\.244\.5\./), expect.stringMatching(/^fd00:10:244:5:/)]);
  await expectReach([...before, after]);
  await expectReach([after, far]);
  expect((await held(node)).addresses).toEqual(["10.244.1.1/24", ...NEW_GATEWAYS, "fd00:10:244:1::1/64"].sort());
});

test("doctor and ipam ls name the old pods, and suggest to remove nothing that they need", async () => {
  const { stdout } = await doctor(["-o", "json"]);
  const { findings } = JSON.parse(stdout) as { findings: { check: string; seen: string; run?: string }[] };
  const found = findings.find(({ check }) => check === "outside-pods");
  for (const address of outsideAddresses(before)) expect(found?.seen).toContain(address);
  expect(findings.filter(({ check }) => check === "bridge-address" || check === "pod-bridge")).toEqual([]);
  const args = ["ipam", "ls", "--cni-conf-dir", node.confDir];
  const listed = JSON.parse(await node.inside.succeed(`${BIN}/weft`, [...args, "-o", "json"])) as {
    networks: { reservations: { address: string; isOutside: boolean }[] }[];
  };
  const marked = listed.networks.flatMap(({ reservations }) => reservations).filter(({ isOutside }) => isOutside);
  expect(marked.map(({ address }) => address).sort()).toEqual([...outsideAddresses(before)].sort());
  expect(await node.inside.succeed(`${BIN}/weft`, args)).toMatch(/outside 10\.244\.5\.0\/24/);
});

let heir: Node;
let heirs: Pod[] = [];

test("another node with the old subnets is reached, and the old pods are still reached on their node", async () => {
  heir = await cluster.addNode(9, undefined, 1);
  for (const peer of cluster.nodes.filter((one) => one !== heir))
    await eventually(async () => expect((await cluster.peerRoutes(peer)).get("10.244.1.0/24")).toBe("10.244.1.0"));
  await eventually(async () => expect((await cluster.peerRoutes(heir)).size).toBe(4));
  // The first two have the same addresses as the pods that still run on node 1.
  for (const label of ["e", "f", "g"]) heirs.push(await cluster.addPod(heir, label));
  const [, , free] = heirs as [Pod, Pod, Pod];
  expect(outsideAddresses([free]).some((address) => outsideAddresses(before).includes(address))).toBe(false);
  await expectReach([after, free]);
  await expectReach([after, far, free], heir);
  await expectReach([...before, after]);
  const singles = before.flatMap(({ addresses }) => addresses.map((address) => `${address} cni0`));
  const expected = {
    addresses: ["10.244.1.1/32", ...NEW_GATEWAYS, "fd00:10:244:1::1/128"].sort(),
    old: ["10.244.1.0/24 flannel.1", "fd00:10:244:1::/64 flannel-v6.1", ...singles].sort(),
  };
  expect(await held(node)).toEqual(expected);
  expect((await cluster.readyz(node)).body).not.toMatch(/^\[!\] peers/m);
  const { stdout } = await doctor(["-o", "json", "--only", "data-path,pod-bridge,bridge-address,foreign-routes"]);
  expect(JSON.parse(stdout)).toMatchObject({ findings: [] });

  // The state survives a restart of weftd, and removed objects are restored.
  await node.weftd.stop("SIGTERM");
  await node.inside.succeed("ip", ["route", "del", `${before[0]?.address}/32`]);
  cluster.restartWeftd(node);
  await cluster.ready(node);
  await eventually(async () => expect(await held(node)).toEqual(expected));
  await node.inside.succeed("ip", ["route", "del", `${before[0]?.address}/32`]);
  await eventually(async () => expect(await held(node)).toEqual(expected));
  await node.inside.succeed("ip", ["link", "del", "cni0"]);
  await eventually(async () => expect(await held(node)).toEqual(expected));
  // A new bridge sends no neighbour requests until its link-local address has passed duplicate address detection.
  await eventually(() => expectReach([...before, after]), 30_000);
});

test("while no other node has the old subnets, they have their route again", async () => {
  for (const pod of [...heirs]) await cluster.removePod(pod);
  heirs = [];
  await cluster.deleteNode(heir);
  await eventually(async () =>
    expect(await held(node)).toEqual({
      addresses: ["10.244.1.1/24", ...NEW_GATEWAYS, "fd00:10:244:1::1/64"].sort(),
      old: ["10.244.1.0/24 cni0", "fd00:10:244:1::/64 cni0"],
    }),
  );
  await expectReach([...before, after]);
});

test("with the last old pod, the old gateways and the warning are removed", async () => {
  const [first, last] = before as [Pod, Pod];
  await cluster.removePod(first);
  await eventually(async () => {
    const { body } = await cluster.readyz(node);
    const [warning = ""] = /^\[!\] pods: .*$/m.exec(body) ?? [];
    for (const address of first.addresses) expect(warning).not.toContain(`${address},`);
    for (const address of last.addresses) expect(warning).toContain(address);
  }, 20_000);
  expect((await held(node)).addresses).toContain("10.244.1.1/24");
  await cluster.removePod(last);
  await eventually(async () => {
    expect(await held(node)).toEqual({ addresses: NEW_GATEWAYS, old: [] });
    expect((await cluster.readyz(node)).body).not.toContain("[!]");
  }, 20_000);
  await expectReach([after, far]);
  // weftd's own decisions do not count as repairs.
  expect(node.weftd.output).not.toMatch(/keeps (undoing|being undone)/);
  expect((await doctor(["--only", "outside-pods,bridge-address"])).status).toBe(0);
});

test("weftd finds a change during its downtime in the saved state; the old gateways are removed with the last pod", async () => {
  const lone = await cluster.addNode(3);
  const pod = await cluster.addPod(lone, "h");
  await lone.weftd.stop("SIGTERM");
  await cluster.renumber(lone, 6);
  const next = await cluster.addNode(10, undefined, 3);
  cluster.restartWeftd(lone);
  await cluster.ready(lone);
  await eventually(async () => {
    const { body } = await cluster.readyz(lone);
    expect(body).toMatch(/^\[!\] pods: .*10\.244\.3\./m);
    expect(body).not.toMatch(/^\[!\] peers/m);
    expect((await cluster.peerRoutes(lone)).get("10.244.3.0/24")).toBe("10.244.3.0");
  });
  expect(lone.weftd.output).not.toContain("the kernel refused");
  for (const address of pod.addresses) expect(await lone.inside.pings(address)).toBe(true);
  await eventually(async () => expect((await cluster.peerRoutes(next)).get("10.244.6.0/24")).toBe("10.244.6.0"));
  expect(await lone.inside.pings("10.244.3.0"), "the other node by its VTEP's address").toBe(true);
  await cluster.removePod(pod);
  await eventually(async () => {
    const { addresses } = await held(lone);
    expect(addresses.filter((address) => /10\.244\.3|fd00:10:244:3:/.test(address))).toEqual([]);
    expect(await lone.inside.succeed("ip", ["route", "show", "dev", "cni0"])).not.toContain("10.244.3.");
    expect((await cluster.readyz(lone)).body).not.toContain("[!]");
  }, 20_000);
});

test("pods with a link each are reported, too, until they are gone", async () => {
  const other = new Cleanup();
  try {
    const bed = await Cluster.start("host-gw", other, { attach: "ptp" });
    const one = await bed.addNode(1);
    const pod = await bed.addPod(one, "p");
    await bed.renumber(one, 5);
    await eventually(async () => expect((await bed.readyz(one)).body).toMatch(/^\[!\] pods: .*10\.244\.1\./m));
    expect(await one.inside.pings(pod.address)).toBe(true);
    await bed.removePod(pod);
    await eventually(async () => expect((await bed.readyz(one)).body).not.toContain("[!]"), 20_000);
  } finally {
    await other.run();
  }
});
