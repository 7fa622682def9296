/**
 * Two nodes without weftd, connected by the chained executables alone: their configuration names the peers. iproute2
 * reads back the kernel's state, and packets test it.
 */
import { resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { succeed } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { eventually } from "./harness/process.ts";

const BIN = resolve("dist/bin");
const CONF = { cniVersion: "1.1.0", name: "net" };
const BACKENDS = ["host-gw", "vxlan"] as const;
type Backend = (typeof BACKENDS)[number];

const macOf = (number: number) => `0a:00:00:00:00:0${number}`;

/**
 * Node `number` has 192.0.2.<number>, 2001:db8::<number>, and the pod subnets 10.244.<number>.0/24 and
 * fd00:<number>::/64.
 */
class Node {
  readonly number: number;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly pod: Namespace;
  readonly inPod: Inside;
  result: { readonly ips: readonly { readonly address: string }[] } | undefined;

  private constructor(number: number, namespace: Namespace, inside: Inside, pod: Namespace, inPod: Inside) {
    this.number = number;
    this.namespace = namespace;
    this.inside = inside;
    this.pod = pod;
    this.inPod = inPod;
  }

  static async make(number: number, cleanup: Cleanup): Promise<Node> {
    const stateDir = makeFolder("chained", cleanup);
    const namespace = await makeNamespace(`chained-node${number}`, cleanup);
    const pod = await makeNamespace(`chained-pod${number}`, cleanup);
    const inside = await Inside.enter(namespace, cleanup, stateDir);
    const inPod = await Inside.enter(pod, cleanup);
    return new Node(number, namespace, inside, pod, inPod);
  }

  /** Enables forwarding, as weftd does. */
  async forward(): Promise<void> {
    await this.inside.succeed("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  }

  async call(plugin: string, verb: string, conf: object) {
    const { status, stdout } = await this.inside.run(`${BIN}/${plugin}`, [], JSON.stringify({ ...CONF, ...conf }), {
      ...{ CNI_COMMAND: verb, CNI_CONTAINERID: `c${this.number}`, CNI_NETNS: this.pod.path, CNI_IFNAME: "eth0" },
      CNI_PATH: BIN,
    });
    return { status, json: stdout.trim() === "" ? undefined : JSON.parse(stdout) };
  }

  async attach(): Promise<void> {
    const subnets = [`10.244.${this.number}.0/24`, `fd00:${this.number}::/64`];
    const ipam = { type: "host-local", ranges: subnets.map((subnet) => [{ subnet }]) };
    const { status, json } = await this.call("bridge", "ADD", { isDefaultGateway: true, ipam });
    expect(status, JSON.stringify(json)).toBe(0);
    this.result = json;
  }

  chained(backend: Backend, verb: string, peers: readonly object[]) {
    const own = backend === "vxlan" ? { mac: macOf(this.number) } : {};
    return this.call(backend, verb, { device: "eth0", peers, prevResult: this.result, ...own });
  }

  address(family: 4 | 6): string {
    const text = this.result?.ips.find(({ address }) => address.includes(":") === (family === 6))?.address ?? "";
    return text.split("/")[0] ?? "";
  }

  asPeer(): object {
    const { number } = this;
    return {
      ...{ name: `n${number}`, subnets: [`10.244.${number}.0/24`, `fd00:${number}::/64`] },
      ...{ addresses: [`192.0.2.${number}`, `2001:db8::${number}`], vtepMacs: { 4: macOf(number), 6: macOf(number) } },
    };
  }

  /**
   * The routes, devices and entries for other nodes as iproute2 shows them, without those that the kernel makes by
   * itself.
   */
  async dataPath() {
    const list = <T>(tool: string, ...args: string[]) => this.inside.json<T[]>(tool, ["-j", ...args]);
    const isOurs = ({ dev, ifname }: { dev?: string; ifname?: string }) => `${dev ?? ifname}`.startsWith("flannel");
    return {
      devices: (await list<Device>("ip", "-d", "address", "show"))
        .filter(isOurs)
        .map((device) => ({ ...device, addr_info: device.addr_info.filter(({ scope }) => scope !== "link") })),
      routes: [
        ...(await list<object>("ip", "-4", "route", "show", "proto", "119")),
        ...(await list<object>("ip", "-6", "route", "show", "proto", "119")),
      ],
      neighbours: (await list<{ dev: string }>("ip", "neigh", "show")).filter(isOurs),
      forwarding: (await list<{ ifname: string }>("bridge", "fdb", "show")).filter(isOurs),
    };
  }
}

interface Device {
  readonly ifname: string;
  readonly ifindex: number;
  readonly addr_info: readonly { readonly scope: string }[];
}

let cleanup: Cleanup;
let first: Node;
let second: Node;

beforeEach(async () => {
  cleanup = new Cleanup();
  first = await Node.make(1, cleanup);
  second = await Node.make(2, cleanup);
  const { name: n1 } = first.namespace;
  const { name: n2 } = second.namespace;
  await succeed("ip", [...["-n", n1, "link", "add", "eth0", "type", "veth"], ...["peer", "name", "eth0", "netns", n2]]);
  for (const { number, namespace } of [first, second]) {
    const ip = (...args: string[]) => succeed("ip", ["-n", namespace.name, ...args]);
    await ip("address", "add", `192.0.2.${number}/24`, "dev", "eth0");
    await ip("address", "add", `2001:db8::${number}/64`, "dev", "eth0", "nodad");
    await ip("link", "set", "eth0", "up");
  }
  for (const node of [first, second]) {
    await node.attach();
    await node.forward();
  }
});
afterEach(() => cleanup.run());

async function join2(backend: Backend): Promise<void> {
  for (const [node, peer] of [
    [first, second],
    [second, first],
  ] as const) {
    expect(await node.chained(backend, "ADD", [peer.asPeer()])).toEqual({ status: 0, json: node.result });
  }
}

const WAY = { "host-gw": "192.0.2.2 dev eth0", vxlan: "10.244.2.0 dev flannel.1 onlink" } as const;
const DAMAGE_TO_VXLAN = [
  ["the removed device", "ip link del flannel.1"],
  ["the device set down", "ip link set flannel.1 down"],
  ["a changed hardware address of the device", "ip link set flannel.1 address 0a:00:00:00:00:99"],
  ["a changed MTU of the device", "ip link set flannel.1 mtu 1000"],
  ["a removed address of the device", "ip address flush dev flannel.1"],
  ["a removed neighbour", "ip neigh del 10.244.2.0 dev flannel.1"],
  ["a changed neighbour entry", "ip neigh replace 10.244.2.0 lladdr 0a:00:00:00:00:98 dev flannel.1"],
  ["a removed forwarding entry", "bridge fdb del 0a:00:00:00:00:02 dev flannel.1"],
  [
    "a forwarding entry to another node",
    "bridge fdb replace 0a:00:00:00:00:02 dev flannel.1 dst 192.0.2.9 self permanent",
  ],
  [
    "a forwarding entry with another port",
    "bridge fdb replace 0a:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 port 4789 self permanent",
  ],
];

describe.each(BACKENDS)("%s", (backend) => {
  test("pods of both nodes reach each other by IPv4 and IPv6, with their own addresses", async () => {
    expect(await first.inPod.pings(second.address(4), 1)).toBe(false);
    await join2(backend);
    await second.inPod.listen(7007);
    for (const family of [4, 6] as const) {
      await eventually(async () => expect(await first.inPod.pings(second.address(family))).toBe(true));
      expect(await second.inPod.pings(first.address(family))).toBe(true);
    }
    expect(await first.inPod.seenBy(second.address(4), 7007)).toBe(first.address(4));
  });

  test("a second ADD, CHECK, DEL and GC change nothing", async () => {
    await join2(backend);
    const before = await first.dataPath();
    const peers = [second.asPeer()];
    expect((await first.chained(backend, "CHECK", peers)).json).toBeUndefined();
    expect((await first.chained(backend, "ADD", peers)).status).toBe(0);
    expect((await first.chained(backend, "DEL", peers)).status).toBe(0);
    expect((await first.call(backend, "GC", { peers, "cni.dev/valid-attachments": [] })).status).toBe(0);
    expect(await first.dataPath()).toEqual(before);
  });

  test.each([
    ["a removed route", "ip route del 10.244.2.0/24"],
    ["a removed IPv6 route", "ip -6 route del fd00:2::/64"],
    ["a route with another gateway", "ip route change 10.244.2.0/24 via 192.0.2.9 dev eth0 proto 119"],
    ["a narrowed route", `ip route change 10.244.2.0/24 via ${WAY[backend]} proto 119 mtu 800`],
    ...(backend === "vxlan" ? DAMAGE_TO_VXLAN : []),
  ])("CHECK reports %s, and ADD repairs it", async (_name, command) => {
    await join2(backend);
    const whole = comparable(await first.dataPath());
    const peers = [second.asPeer()];
    const [tool = "", ...args] = command.split(" ");
    await first.inside.succeed(tool, args);
    expect((await first.chained(backend, "CHECK", peers)).json).toMatchObject({ code: 11 });
    expect((await first.chained(backend, "ADD", peers)).status).toBe(0);
    expect((await first.chained(backend, "CHECK", peers)).status).toBe(0);
    expect(comparable(await first.dataPath())).toEqual(whole);
  });
});

/** Sorted, and without indexes, since a new device has a new index. */
function comparable(dataPath: Awaited<ReturnType<Node["dataPath"]>>): unknown {
  const text = JSON.stringify(dataPath, (key, value) => (key === "ifindex" ? undefined : value));
  const lists = JSON.parse(text) as Record<string, object[]>;
  return Object.fromEntries(
    Object.entries(lists).map(([name, list]) => [name, list.map((one) => JSON.stringify(one)).sort()]),
  );
}

test("vxlan makes what flannel would, with weft's route protocol", async () => {
  await join2("vxlan");
  const { devices, routes, neighbours, forwarding } = await first.dataPath();
  expect(devices).toMatchObject([
    {
      ...{ ifname: "flannel.1", mtu: 1450, address: macOf(1), ifalias: "weft:vtep" },
      linkinfo: {
        info_kind: "vxlan",
        info_data: { id: 1, local: "192.0.2.1", link: "eth0", port: 8472, learning: false },
      },
      addr_info: [{ local: "10.244.1.0", prefixlen: 32, scope: "global" }],
    },
    {
      ...{ ifname: "flannel-v6.1", mtu: 1430, address: macOf(1) },
      linkinfo: {
        info_data: { id: 1, local6: "2001:db8::1", link: "eth0", port: 8472, learning: false, udp_csum: true },
      },
      addr_info: [{ local: "fd00:1::", prefixlen: 128, scope: "global" }],
    },
  ]);
  expect(routes).toMatchObject([
    { dst: "10.244.2.0/24", gateway: "10.244.2.0", dev: "flannel.1", flags: ["onlink"] },
    { dst: "fd00:2::/64", gateway: "fd00:2::", dev: "flannel-v6.1", flags: ["onlink"], metric: 1024 },
  ]);
  const entry = { lladdr: macOf(2), state: ["PERMANENT"] };
  expect(neighbours).toEqual(
    expect.arrayContaining([
      { dst: "10.244.2.0", dev: "flannel.1", ...entry },
      { dst: "fd00:2::", dev: "flannel-v6.1", ...entry },
    ]),
  );
  expect(neighbours).toHaveLength(2);
  expect(forwarding).toEqual([
    { mac: macOf(2), ifname: "flannel.1", dst: "192.0.2.2", flags: ["self"], state: "permanent" },
    { mac: macOf(2), ifname: "flannel-v6.1", dst: "2001:db8::2", flags: ["self"], state: "permanent" },
  ]);
});

test("vxlan adopts flannel's device, and the peer stays reachable at every moment", async () => {
  await second.chained("vxlan", "ADD", [first.asPeer()]);
  // As in dumps of flannel's nodes: no alias, a link-local address, routes of protocol boot.
  const { name } = first.namespace;
  for (const command of [
    `link add flannel.1 address ${macOf(1)} mtu 1450 type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0 nolearning`,
    "address add 10.244.1.0/32 dev flannel.1",
    "link set flannel.1 up",
    `neigh add 10.244.2.0 lladdr ${macOf(2)} dev flannel.1 nud permanent`,
    "route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
  ])
    await succeed("ip", ["-n", name, ...command.split(" ")]);
  await succeed("bridge", [
    ...["-n", name, "fdb", "add", macOf(2), "dev", "flannel.1"],
    ...["dst", "192.0.2.2", "self", "permanent"],
  ]);
  const [device] = (await first.dataPath()).devices;
  const pinging = first.inPod.run("ping", ["-n", "-q", "-i", "0.01", "-c", "100", "-W", "1", second.address(4)]);
  await eventually(async () => expect((await first.chained("vxlan", "ADD", [second.asPeer()])).status).toBe(0));
  expect((await pinging).stdout).toContain(" 0% packet loss");
  const { devices, routes } = await first.dataPath();
  expect(devices[0]).toMatchObject({ ifindex: device?.ifindex, ifalias: "weft:vtep", address: macOf(1) });
  expect(routes).toHaveLength(2);
});
