/**
 * Changes `weftd --attach` in both directions while pods run. Pods on the bridge and pods with a link each reach each
 * other in both families, the tools show both kinds, and nothing of a kind remains after its last pod.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, type Node, type Pod } from "./harness/cluster.ts";
import { eventually, PATIENCE } from "./harness/process.ts";
import { measureReach } from "./harness/traffic.ts";

interface Finding {
  readonly check: string;
  readonly severity: "error" | "warning" | "note";
  readonly seen: string;
  readonly run?: string;
}

interface Hop {
  readonly at: string;
  readonly state: string;
  readonly text: string;
  readonly remedy?: string;
}

const cleanup = new Cleanup();
let cluster: Cluster;
let node: Node;
let remote: Pod;
let bridged: readonly [Pod, Pod];
let routed: readonly [Pod, Pod];

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  node = await cluster.addNode(1);
  const other = await cluster.addNode(2);
  for (const one of [node, other]) await eventually(async () => expect((await cluster.peerRoutes(one)).size).toBe(2));
  remote = await cluster.addPod(other, "r");
  bridged = [await cluster.addPod(node, "b1"), await cluster.addPod(node, "b2")];
}, 60_000 * PATIENCE);

afterAll(() => cleanup.run());

const shell = (script: string) => node.inside.succeed("sh", ["-ec", script]);

async function restart(attach: "bridge" | "ptp"): Promise<void> {
  await node.weftd.stop("SIGTERM");
  cluster.attach = attach;
  cluster.restartWeftd(node);
  await cluster.ready(node);
  expect(JSON.parse(cluster.conflistText(node)).plugins[0].type).toBe(attach);
}

async function weft(...args: string[]) {
  const places = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir];
  const { status, stdout, stderr } = await node.inside.run(`${BIN}/weft`, [...args, "-o", "json", ...places]);
  expect(stderr).toBe("");
  return { status, json: JSON.parse(stdout) };
}

async function findings(): Promise<readonly Finding[]> {
  const { json } = await weft("doctor", "--cni-bin-dir", BIN);
  return (json as { findings: Finding[] }).findings.filter(({ check }) => check !== "network-manager");
}

async function explain(to: string, from: string): Promise<{ status: number | null; hops: readonly Hop[] }> {
  const { status, json } = await weft("explain", to, "--from", from);
  return { status, hops: (json as { hops: Hop[] }).hops };
}

/** The bridge's settings for proxy ARP and NDP, and the IPv6 addresses of its proxy entries. */
async function answers() {
  const names = ["ipv4.conf.cni0.proxy_arp", "ipv4.neigh.cni0.proxy_delay"];
  const names6 = ["ipv6.conf.cni0.proxy_ndp", "ipv6.neigh.cni0.proxy_delay"];
  const settings = await shell(`sysctl -n ${[...names, ...names6].map((name) => `net.${name}`).join(" ")}`);
  const entries = await node.inside.json<{ dst: string }[]>("ip", ["-6", "-j", "neigh", "show", "proxy"]);
  return { settings: settings.trim().split("\n"), entries: entries.map(({ dst }) => dst).sort() };
}

const ON = ["1", "0", "1", "0"];
const OFF = ["0", "80", "0", "80"];
const entriesOf = (pods: readonly Pod[]) => pods.flatMap(({ addresses }) => addresses.slice(1)).sort();
const hostEnd = async ({ name }: Pod) => {
  const links = await node.inside.json<{ ifname: string; ifalias?: string }[]>("ip", ["-j", "link", "show"]);
  return links.find(({ ifalias }) => ifalias === `cni:cbr0/${name}/eth0`)?.ifname ?? "";
};
const isBridgeThere = async () => (await node.inside.run("ip", ["link", "show", "cni0"])).status === 0;

test("after a change from bridge to ptp, pods of both kinds reach each other, other nodes' pods and the node", async () => {
  await restart("ptp");
  routed = [await cluster.addPod(node, "p1"), await cluster.addPod(node, "p2")];
  expect(await isBridgeThere()).toBe(true);
  expect((await measureReach(cluster)).failures).toEqual([]);
  await eventually(async () => expect(await answers()).toEqual({ settings: ON, entries: entriesOf(routed) }));
});

test("the node answers neither for pods on the bridge nor for unused addresses", async () => {
  const [asking, other] = bridged;
  const [bridge] = await node.inside.json<{ address: string }[]>("ip", ["-j", "link", "show", "cni0"]);
  const [own] = await other.inside.json<{ address: string }[]>("ip", ["-j", "link", "show", "eth0"]);
  const neighbours = async (address: string) => {
    await asking.inside.run("ip", ["neigh", "flush", "to", address]);
    await asking.inside.pings(address, 1);
    return (await asking.inside.json<{ lladdr?: string }[]>("ip", ["-j", "neigh", "show", address])).map(
      ({ lladdr }) => lladdr,
    );
  };
  for (const [at, nobody] of ["10.244.1.222", "fd00:10:244:1::222"].entries()) {
    expect(await neighbours(other.addresses[at] ?? "")).toEqual([own?.address]);
    expect(await neighbours(routed[0].addresses[at] ?? "")).toEqual([bridge?.address]);
    expect((await neighbours(nobody)).filter((mac) => mac !== undefined)).toEqual([]);
  }
  // The kernel's duplicate address detection: a free address is kept, and the address of a pod of the other kind is
  // not. The pod's own port is guarded (`guardSenders`) and does not pass a probe for another pod's address.
  await asking.inside.succeed("ip", [
    "link",
    "add",
    "dad0",
    "type",
    "veth",
    "peer",
    "dad1",
    "netns",
    node.namespace.name,
  ]);
  await shell("ip link set dad1 master cni0 up");
  await asking.inside.succeed("ip", ["link", "set", "dad0", "up"]);
  await asking.inside.succeed("sysctl", ["-qw", "net.ipv6.conf.dad0.accept_dad=1"]);
  const detected = async (address: string) => {
    await asking.inside.succeed("ip", ["address", "add", `${address}/128`, "dev", "dad0"]);
    const show = ["-6", "-j", "address", "show", "dev", "dad0", "to", address];
    const flags = await eventually(async () => {
      const [link] = await asking.inside.json<{ addr_info: Record<string, unknown>[] }[]>("ip", show);
      const [info] = link?.addr_info ?? [];
      expect(info).toBeDefined();
      expect(info?.tentative === true && info.dadfailed !== true).toBe(false);
      return info;
    }, 10_000);
    await asking.inside.succeed("ip", ["address", "del", `${address}/128`, "dev", "dad0"]);
    return flags?.dadfailed === true;
  };
  expect(await detected("fd00:10:244:1::222")).toBe(false);
  expect(await detected(routed[0].addresses[1] ?? "")).toBe(true);
  await asking.inside.succeed("ip", ["link", "del", "dad0"]);
});

test("weftd restores the bridge's proxy settings and entries, and updates them for new and removed pods", async () => {
  await shell("sysctl -qw net.ipv4.conf.cni0.proxy_arp=0 net.ipv6.conf.cni0.proxy_ndp=0");
  await shell("sysctl -qw net.ipv4.neigh.cni0.proxy_delay=80 net.ipv6.neigh.cni0.proxy_delay=80");
  await eventually(async () => expect((await answers()).settings).toEqual(ON));
  // The kernel sends no notification for a proxy entry, so the next full comparison finds the change.
  await shell(`ip neigh del proxy ${routed[0].addresses[1]} dev cni0; ip neigh add proxy 2001:db8::77 dev cni0`);
  const third = await cluster.addPod(node, "p3");
  const stranger = "2001:db8::77";
  const held = (pods: readonly Pod[]) => ({ settings: ON, entries: [stranger, ...entriesOf(pods)].sort() });
  await eventually(async () => expect(await answers()).toEqual(held([...routed, third])));
  await cluster.removePod(third);
  await eventually(async () => expect(await answers()).toEqual(held(routed)));
  await shell(`ip neigh del proxy ${stranger} dev cni0`);
  // A new bridge has the defaults of a new device.
  await shell("ip link del cni0");
  await eventually(async () => expect(await answers()).toEqual({ settings: ON, entries: entriesOf(routed) }));
  expect((await measureReach(cluster)).failures).toEqual([]);
});

test("doctor counts both kinds, and explain follows packets between them", async () => {
  expect(await findings()).toMatchObject([
    {
      check: "pod-kinds",
      severity: "note",
      seen: "2 pods are attached to cni0, and 2 pods are attached by their own links",
    },
  ]);
  for (const [from, to] of [
    [bridged[0], routed[0]],
    [routed[0], bridged[0]],
    [bridged[0], bridged[1]],
    [routed[0], routed[1]],
    [bridged[0], remote],
  ] as const)
    for (const [at, address] of to.addresses.entries()) {
      const { status, hops } = await explain(address, from.addresses[at] ?? "");
      expect([status, hops.at(-1)?.state], JSON.stringify(hops)).toEqual([0, "arrives"]);
    }
});

test("without weftd, doctor and explain name each defect, and their commands repair it", async () => {
  await node.weftd.stop("SIGTERM");
  const [from, to] = [bridged[0], routed[0]];
  const port = await hostEnd(to);
  const damages: readonly [family: number, damage: string, remedy: RegExp, check: string | undefined][] = [
    [0, "sysctl -qw net.ipv4.conf.cni0.proxy_arp=0", /^sysctl -w net\.ipv4\.conf\.cni0\.proxy_arp=1$/, "pod-kinds"],
    [1, "sysctl -qw net.ipv6.conf.cni0.proxy_ndp=0", /^sysctl -w net\.ipv6\.conf\.cni0\.proxy_ndp=1$/, "pod-kinds"],
    [1, `ip neigh del proxy ${to.addresses[1]} dev cni0`, /^ip neigh add proxy \S+ dev cni0/, "pod-kinds"],
    [0, `ip route del ${to.addresses[0]} dev ${port}`, new RegExp(`^ip route add \\S+ dev ${port}`), undefined],
    [1, `ip route del ${to.addresses[1]} dev ${port}`, new RegExp(`^ip route add \\S+ dev ${port}`), undefined],
  ];
  for (const [family, damage, remedy, check] of damages) {
    await shell(damage);
    const { status, hops } = await explain(to.addresses[family] ?? "", from.addresses[family] ?? "");
    const command = hops.at(-1)?.remedy ?? "";
    expect([status, command], JSON.stringify(hops)).toEqual([5, expect.stringMatching(remedy)]);
    const errors = (await findings()).filter(
      ({ severity, check: name }) => severity === "error" && name !== "weftd-alive",
    );
    if (check !== undefined) expect(errors).toMatchObject([{ check, run: command }]);
    await shell(command);
    expect((await explain(to.addresses[family] ?? "", from.addresses[family] ?? "")).status, command).toBe(0);
    expect(await from.inside.pings(to.addresses[family] ?? "", 5), command).toBe(true);
  }
  await restart("ptp");
});

test("the bridge is removed with its last pod, and doctor finds nothing", async () => {
  for (const pod of bridged) await cluster.removePod(pod);
  await eventually(async () => expect(await isBridgeThere()).toBe(false));
  expect((await measureReach(cluster)).failures).toEqual([]);
  expect(await findings()).toEqual([]);
});

test("after a change back to bridge, both kinds coexist, and the bridge stops answering for removed pods", async () => {
  await restart("bridge");
  expect(await findings()).toEqual([]);
  bridged = [await cluster.addPod(node, "b3"), await cluster.addPod(node, "b4")];
  expect((await measureReach(cluster)).failures).toEqual([]);
  await eventually(async () => expect(await answers()).toEqual({ settings: ON, entries: entriesOf(routed) }));
  expect((await findings()).map(({ check, severity }) => [check, severity])).toEqual([["pod-kinds", "note"]]);
  // weftd still repairs them, whichever plugin attaches new pods.
  const [port, other] = [await hostEnd(routed[0]), await hostEnd(routed[1])];
  /**
   * The routes to the two pods. Omits the kernel's route to link-local addresses: the flush removes it, and nothing
   * restores it.
   */
  const ways = () =>
    Promise.all(
      [port, other].map(async (name) => {
        const routes = await Promise.all(
          ["-4", "-6"].map((family) =>
            node.inside.json<{ dst: string }[]>("ip", [family, "-j", "route", "show", "dev", name]),
          ),
        );
        const show = ["-j", "address", "show", "dev", name, "scope", "global"];
        const [link] = await node.inside.json<{ master?: string; addr_info: { local: string }[] }[]>("ip", show);
        return {
          master: link?.master,
          addresses: link?.addr_info.map(({ local }) => local).sort(),
          routes: routes.flatMap((held) => held.map(({ dst }) => dst).filter((dst) => dst !== "fe80::/64")).sort(),
        };
      }),
    );
  const before = await ways();
  await shell(`ip address flush dev ${port} scope global; ip route flush dev ${port}; ip -6 route flush dev ${port}`);
  await shell(`ip link set ${other} master cni0; sysctl -qw net.ipv4.conf.cni0.proxy_arp=0`);
  await eventually(async () => expect(await ways()).toEqual(before));
  expect((await measureReach(cluster)).failures).toEqual([]);
  for (const pod of routed) await cluster.removePod(pod);
  await eventually(async () => expect(await answers()).toEqual({ settings: OFF, entries: [] }));
  expect(await findings()).toEqual([]);
  expect((await measureReach(cluster)).failures).toEqual([]);
});

test("weftd at its start removes a bridge and settings whose last pod was deleted while it was stopped", async () => {
  await restart("ptp");
  const [pod] = [await cluster.addPod(node, "p5")];
  await eventually(async () => expect((await answers()).settings).toEqual(ON));
  await node.weftd.stop("SIGTERM");
  await cluster.removePod(pod);
  cluster.attach = "bridge";
  cluster.restartWeftd(node);
  await cluster.ready(node);
  await eventually(async () => expect(await answers()).toEqual({ settings: OFF, entries: [] }));
  await node.weftd.stop("SIGTERM");
  for (const one of bridged) await cluster.removePod(one);
  expect(await isBridgeThere()).toBe(true);
  cluster.attach = "ptp";
  cluster.restartWeftd(node);
  await cluster.ready(node);
  await eventually(async () => expect(await isBridgeThere()).toBe(false));
});
