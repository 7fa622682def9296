/**
 * Pods of each family over an underlay of each family, with every backend: all pods are reached, by the largest packet
 * too.
 */
import { expect, test } from "vitest";
import { Cluster, type ClusterOptions, type Mode } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";
import { measureReach, podPairs } from "./harness/traffic.ts";
import { withCleanup } from "./harness/with-cleanup.ts";

/** Total size of an IP header and an ICMP echo header. */
const ECHO_HEADERS = { 4: 28, 6: 48 };

const ROWS: readonly [Mode, ClusterOptions, number, readonly string[]][] = [
  ["vxlan", { families: "dual" }, 1430, ["flannel-v6.1", "flannel.1"]],
  ["vxlan", { families: "ipv6", attach: "ptp" }, 1430, ["flannel-v6.1"]],
  ["vxlan", { families: "dual", underlay: "ipv4" }, 1450, ["flannel.1"]],
  ["vxlan", { families: "dual", underlay: "ipv6", attach: "ptp" }, 1430, ["flannel-v6.1"]],
  ["vxlan", { families: "ipv6", underlay: "ipv4" }, 1450, ["flannel.1"]],
  ["vxlan", { families: "ipv4", underlay: "ipv6" }, 1430, ["flannel-v6.1"]],
  ["vxlan", { families: "ipv6", underlay: "dual" }, 1430, ["flannel-v6.1"]],
  ["host-gw", { families: "ipv6" }, 1500, []],
  ["host-gw", { families: "dual", attach: "ptp" }, 1500, []],
  ["host-gw", { families: "ipv4", underlay: "ipv6" }, 1500, []],
  ["host-gw", { families: "dual", underlay: "ipv6" }, 1500, []],
  ["auto", { families: "dual" }, 1430, ["flannel-v6.1", "flannel.1"]],
];
const reaches = withCleanup<(typeof ROWS)[number]>(async (cleanup, mode, options, mtu, devices) => {
  const cluster = await Cluster.start(mode, cleanup, options);
  const [first, second] = [await cluster.addNode(1), await cluster.addNode(2)];
  for (const [node, peer] of [
    [first, second],
    [second, first],
  ] as const)
    await eventually(async () =>
      expect([...(await cluster.peerRoutes(node)).keys()].sort()).toEqual([...cluster.subnetsOf(peer)].sort()),
    );
  await cluster.addPod(first, "a");
  await cluster.addPod(second, "b");
  const { failures, reached, pairs } = await measureReach(cluster);
  expect(failures).toEqual([]);
  expect([reached, pairs]).toEqual(options.families === "dual" ? [4, 4] : [2, 2]);

  const links = await first.inside.json<{ ifname: string }[]>("ip", ["-j", "link", "show", "type", "vxlan"]);
  expect(links.map(({ ifname }) => ifname).sort()).toEqual(devices);
  for (const { from, target } of podPairs(cluster.pods)) {
    const [link] = await from.inside.json<{ mtu: number }[]>("ip", ["-j", "link", "show", "eth0"]);
    expect(link?.mtu).toBe(mtu);
    const size = mtu - ECHO_HEADERS[target.includes(":") ? 6 : 4];
    const { stdout } = await from.inside.run("ping", [
      ...["-n", "-c", "1", "-W", "2", "-M", "do", "-s", String(size)],
      target,
    ]);
    expect(stdout, `${target} at ${size} bytes`).toContain("1 received");
  }
  for (const node of cluster.nodes) expect((await cluster.readyz(node)).body).not.toContain("[!]");
});
test.concurrent.each(ROWS)("%s, %o", reaches);

/** Sends a router advertisement (RFC 4861 section 4.2) to all nodes on eth0. It is valid for half an hour. */
const ADVERTISEMENT = `
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6);
socket(my $socket, AF_INET6, SOCK_RAW, 58) or die $!;
setsockopt($socket, 41, 18, pack("i", 255)) or die $!;
setsockopt($socket, 41, 17, pack("I", $ARGV[0])) or die $!;
my $text = pack("CCnCCnNN", 134, 0, 0, 64, 0, 1800, 0, 0);
send($socket, $text, 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, "ff02::1"), $ARGV[0])) or die $!;
`;

const hearsRouters = withCleanup(async (cleanup) => {
  const cluster = await Cluster.start("vxlan", cleanup, { families: "ipv6" });
  const router = await cluster.addNode(1);
  const node = await cluster.addNode(2, async ({ inside }) => {
    await inside.succeed("sysctl", ["-qw", "net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.eth0.accept_ra=1"]);
  });
  const setting = (name: string) => node.inside.succeed("sysctl", ["-n", `net.ipv6.conf.${name}`]);
  expect([await setting("eth0.accept_ra"), await setting("all.forwarding")]).toEqual(["2\n", "1\n"]);
  const [link] = await router.inside.json<{ ifindex: number }[]>("ip", ["-j", "link", "show", "eth0"]);
  await eventually(async () => {
    await router.inside.succeed("perl", ["-e", ADVERTISEMENT, String(link?.ifindex)]);
    const routes = await node.inside.json<object[]>("ip", ["-6", "-j", "route", "show", "default"]);
    expect(routes).toMatchObject([{ protocol: "ra", dev: "eth0" }]);
  });
});
test.concurrent("a node that uses router advertisements still accepts them when it starts to forward", () =>
  hearsRouters());

const servesAll = withCleanup(async (cleanup) => {
  const cluster = await Cluster.start("vxlan", cleanup);
  const peer = await cluster.addNode(1);
  const node = await cluster.startUnassigned("many", 9);
  const podCIDRs = ["10.244.9.0/30", "10.244.9.64/30"];
  await cluster.api("PATCH", "/api/v1/nodes/many", { spec: { podCIDR: podCIDRs[0], podCIDRs } });
  await cluster.ready(node);
  cluster.nodes.push(node);
  await eventually(async () => expect([...(await cluster.peerRoutes(peer)).keys()].sort()).toEqual(podCIDRs));
  await cluster.addPod(peer, "p");
  const first = await cluster.addPod(node, "a");
  // The bridge has the gateways of all subnets as soon as it has a pod.
  await eventually(async () =>
    expect(await node.inside.succeed("ip", ["-4", "address", "show", "cni0"])).toContain("10.244.9.65/30"),
  );
  const second = await cluster.addPod(node, "b");
  expect([first.address, second.address]).toEqual(["10.244.9.2", "10.244.9.66"]);
  expect((await measureReach(cluster)).failures).toEqual([]);
});
test.concurrent("all podCIDRs of a Node are served: its pods have an address of each, and peers have a route to each", () =>
  servesAll());
