/**
 * Isolation from the first packet: real ADDs with `networkPolicy`, programs in the pod that send before, during and after
 * ADD, and the server of the policy socket with an installer that isolates pods by nft. Receivers count by their own
 * rules.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AttachServerProcess } from "./attach-server-process.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { compiled } from "./harness/compiled.ts";
import type { Inside } from "./harness/inside.ts";
import type { Namespace } from "./harness/namespace.ts";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";

const FIRST_PACKET = new URL("./harness/first-packet.c", import.meta.url);
const POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=";
const PORT = 4000;
const OUTSIDE = { 4: "198.51.100.2", 6: "2001:db8:1::2" };
/** 1,000 starts take two minutes. */
const STARTS = process.env.WEFT_TEST_ALL === "1" ? 1000 : 50;
const DENY = "add element inet first outFAMILY { ADDRESS }";
const ALLOW = "add element inet first limitedFAMILY { ADDRESS }";

/** A small version of weftd's table: a pod's direction is denied, or allowed to some peers. */
const RULES = `
table inet first {
  set out4 { type ipv4_addr; }
  set out6 { type ipv6_addr; }
  set limited4 { type ipv4_addr; }
  set limited6 { type ipv6_addr; }
  set peers4 { type ipv4_addr; elements = { ${OUTSIDE[4]} } }
  set peers6 { type ipv6_addr; elements = { ${OUTSIDE[6]} } }
  counter denied { }
  chain judge {
    ct state established,related return
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } return
    ip saddr @out4 counter name denied drop
    ip6 saddr @out6 counter name denied drop
    ip saddr @limited4 ip daddr @peers4 return
    ip6 saddr @limited6 ip6 daddr @peers6 return
    ip saddr @limited4 counter name denied drop
    ip6 saddr @limited6 counter name denied drop
    ip daddr @limited4 ip saddr @peers4 return
    ip6 daddr @limited6 ip6 saddr @peers6 return
    ip daddr @limited4 counter name denied drop
    ip6 daddr @limited6 counter name denied drop
  }
  chain forward { type filter hook forward priority 10; jump judge; }
  chain input { type filter hook input priority 10; jump judge; }
}`;

let cleanup: Cleanup;
let bed: PluginBed;
let weftd: AttachServerProcess;
let outside: Inside;
let program: string;

beforeEach(async () => {
  cleanup = new Cleanup();
  program = await compiled(FIRST_PACKET, cleanup);
  bed = await PluginBed.make();
  cleanup.push(() => bed.close());
  weftd = new AttachServerProcess(bed.node, cleanup);
  const receiver = await bed.anotherPod("outside");
  outside = receiver.inside;
  const { name } = receiver.namespace;
  await shell(
    bed.node,
    "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done",
    "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    "sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1",
    `ip link add up0 type veth peer name eth0 netns ${name}`,
    "ip address add 198.51.100.1/24 dev up0; ip address add 2001:db8:1::1/64 dev up0 nodad; ip link set up0 up",
  );
  await shell(
    outside,
    "ip address add 198.51.100.2/24 dev eth0; ip address add 2001:db8:1::2/64 dev eth0 nodad; ip link set eth0 up",
    "ip route add 10.0.0.0/8 via 198.51.100.1; ip route add fd00:22::/64 via 2001:db8:1::1",
  );
  await load(bed.node, RULES);
  await countIn(outside);
  await weftd.ready();
});
afterEach(() => cleanup.run());

async function shell(inside: Inside, ...lines: readonly string[]): Promise<void> {
  await inside.succeed("sh", ["-ec", lines.join("\n")]);
}

async function load(inside: Inside, ruleset: string): Promise<void> {
  const { status, stderr } = await inside.run("nft", ["-f", "-"], ruleset);
  if (status !== 0) throw new Error(stderr);
}

/** Counts datagrams to `PORT`, whether or not a program listens. */
function countIn(inside: Inside): Promise<void> {
  return load(
    inside,
    `table inet count {
      counter got { }
      chain in { type filter hook prerouting priority -400; udp dport ${PORT} counter name got; }
    }`,
  );
}

/** Returns the packets since the last call. */
async function counted(inside: Inside, table: string, counter: string): Promise<number> {
  const text = await inside.succeed("nft", ["reset", "counter", "inet", table, counter]);
  return Number(/packets (\d+)/.exec(text)?.[1]);
}

const received = (inside: Inside) => counted(inside, "count", "got");
const denied = () => counted(bed.node, "first", "denied");

type Plugin = "bridge" | "ptp";
const PLUGINS: readonly Plugin[] = ["bridge", "ptp"];

/** A range so large that no address is used twice in a test. */
const IPAM = {
  type: "host-local",
  ranges: [[{ subnet: "10.22.0.0/16" }], [{ subnet: "fd00:22::/64" }]],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
};

function conf(plugin: Plugin, more: object = {}) {
  const bridge = plugin === "bridge" ? { isDefaultGateway: true, hairpinMode: true } : {};
  return { cniVersion: "1.1.0", name: "net", type: plugin, ...bridge, ipam: IPAM, ...more };
}

const policy = (fail = "closed") => ({ networkPolicy: { socket: weftd.socket, fail } });

let uids = 0;

async function attach(plugin: Plugin, more: object, namespace?: Namespace) {
  const args = `${POD}u${++uids}`;
  const options = { args, containerId: namespace?.name ?? "c1", ...(namespace && { netns: namespace.path }) };
  const configuration = conf(plugin, more);
  const call = () => bed.call(OURS, plugin, "ADD", configuration, options);
  let { status, json } = await call();
  // On a busy machine the server may not answer within the plugin's second. kubelet tries again, too.
  for (let attempt = 1; json.code === 11 && attempt < 5; attempt++) ({ status, json } = await call());
  expect(status === 0 ? 0 : json).toBe(0);
  const addresses = (json.ips as readonly { address: string }[]).map(({ address }) => address.split("/")[0] ?? "");
  const detach = async () => {
    const { status } = await bed.call(OURS, plugin, "DEL", { ...configuration, prevResult: json }, options);
    expect(status).toBe(0);
  };
  return { addresses, detach };
}

/** Another pod on the node, without isolation, that counts. */
async function neighbour(plugin: Plugin) {
  const { namespace, inside } = await bed.anotherPod("neighbour");
  const { addresses } = await attach(plugin, {}, namespace);
  await countIn(inside);
  return { inside, addresses };
}

describe.each(PLUGINS)("%s: a pod that sends from before its interface exists", (plugin) => {
  async function spin(targets: readonly string[]): Promise<void> {
    const spinner = new Running(bed.podNamespace, program, ["spin", String(PORT), ...targets], cleanup);
    await spinner.says(/spinning/);
  }

  test(`gets no packet through a deny in ${STARTS} starts`, { timeout: 600_000 * PATIENCE }, async () => {
    const other = await neighbour(plugin);
    await weftd.set({ known: "at once", command: DENY });
    await spin([OUTSIDE[4], OUTSIDE[6], ...other.addresses]);
    for (let start = 1; start <= STARTS; start++) {
      const pod = await attach(plugin, policy());
      await eventually(async () => expect(await denied()).toBeGreaterThan(0), 10_000, 1);
      await pod.detach();
    }
    expect([await received(outside), await received(other.inside)]).toEqual([0, 0]);
  });

  test("gets packets through if its isolation is installed right after ADD", async () => {
    const other = await neighbour(plugin);
    await spin([OUTSIDE[4], OUTSIDE[6], ...other.addresses]);
    for (let start = 1; start <= 10; start++) {
      const pod = await attach(plugin, {});
      const commands = pod.addresses.map((address) =>
        DENY.replace("FAMILY", address.includes(":") ? "6" : "4").replace("ADDRESS", address),
      );
      await bed.node.succeed("nft", [commands.join("; ")]);
      await pod.detach();
    }
    expect(await received(outside)).toBeGreaterThan(0);
    expect(await received(other.inside)).toBeGreaterThan(0);
  });
});

describe.each(PLUGINS)("%s: with an allow", (plugin) => {
  test("the first packet to and from the pod passes as soon as ADD returns", async () => {
    const other = await neighbour(plugin);
    for (const inside of [outside, other.inside, bed.pod]) await inside.listen(PORT);
    await countIn(bed.pod);
    const [four, six] = other.addresses;
    await load(bed.node, `add element inet first peers4 { ${four} }\nadd element inet first peers6 { ${six} }\n`);
    await weftd.set({ known: "at once", command: ALLOW });
    const targets = [OUTSIDE[4], OUTSIDE[6], ...other.addresses];
    for (let start = 1; start <= 10; start++) {
      const pod = await attach(plugin, policy());
      const sides = await Promise.all([
        bed.pod.succeed(program, ["once", String(PORT), ...targets]),
        outside.succeed(program, ["once", String(PORT), ...pod.addresses]),
        other.inside.succeed(program, ["once", String(PORT), ...pod.addresses]),
      ]);
      const dials = sides.join("").trim().split("\n");
      expect(dials).toHaveLength(8);
      for (const dial of dials) expect(dial).toMatch(/^\S+ 0 \d+$/);
      expect([await received(outside), await received(other.inside), await received(bed.pod)]).toEqual([2, 2, 4]);
      await pod.detach();
    }
    expect(await denied()).toBe(0);
  });
});

async function timed<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const startMs = performance.now();
  const value = await work();
  return { value, ms: performance.now() - startMs };
}

const add = (plugin: Plugin, more: object) =>
  timed(() => bed.call(OURS, plugin, "ADD", conf(plugin, more), { args: `${POD}u${++uids}` }));

describe.each(PLUGINS)("%s: a pod that weftd does not know", (plugin) => {
  test.each([
    ["the watch brings it after 500 ms", { known: "by the watch", afterMs: 500 }, 500],
    ["the API server returns it", { known: "by a read", afterMs: 100 }, 1100],
  ] as const)("is attached when %s", async (_name, settings, atLeastMs) => {
    await weftd.set({ ...settings, command: DENY });
    const { value, ms } = await add(plugin, policy());
    expect(value).toMatchObject({ status: 0 });
    expect(ms).toBeGreaterThan(atLeastMs);
    expect(ms).toBeLessThan((atLeastMs + 1000) * PATIENCE);
    expect(await bed.node.succeed("nft", ["list", "set", "inet", "first", "out4"])).toContain("10.22.0.");
  });

  test.each([
    ["the API server has no such pod", { known: "never" }, 1000, /the API server has no such pod/],
    ["the API server hangs", { known: "by a read", afterMs: 60_000 }, 2000, /has not answered within 2000 ms/],
  ] as const)("fails with code 11 and leaves nothing behind if %s", async (_name, settings, atLeastMs, reason) => {
    await weftd.set(settings);
    const before = await bed.state();
    const { value, ms } = await add(plugin, policy("open"));
    expect(value).toMatchObject({ status: 1, json: { code: 11, msg: expect.stringMatching(reason) } });
    expect(ms).toBeGreaterThan(atLeastMs);
    expect(ms).toBeLessThan((atLeastMs + 1000) * PATIENCE);
    expect(await bed.state()).toEqual(before);
  });
});

describe.each(PLUGINS)("%s: weftd", (plugin) => {
  const CONDITIONS: readonly (readonly [string, () => void | Promise<void>, RegExp, number])[] = [
    ["was stopped", () => weftd.stop(), /the socket does not exist/, 0],
    ["was killed", () => weftd.kill(), /it left the socket behind/, 0],
    ["hangs", () => weftd.signal("SIGSTOP"), /not answered for 1000 ms/, 1000],
  ];

  test.each(CONDITIONS)(
    "%s: closed fails with code 11 and leaves nothing behind",
    async (_name, end, reason, atLeastMs) => {
      const before = await bed.state();
      await end();
      const { value, ms } = await add(plugin, policy());
      expect(value).toMatchObject({ status: 1, json: { code: 11, msg: expect.stringMatching(reason) } });
      expect(value.json.msg).toMatch(/pod shop\/web-1 .*--policy-fail=open/);
      expect(ms).toBeGreaterThan(atLeastMs);
      expect(ms).toBeLessThan((atLeastMs + 700) * PATIENCE);
      expect(await bed.state()).toEqual(before);
      expect(await bed.call(OURS, plugin, "STATUS", conf(plugin, policy()))).toMatchObject({ status: 0, output: "" });
    },
  );

  test.each(CONDITIONS)("%s: open attaches with a notice", async (_name, end, reason) => {
    await end();
    const environment = {
      ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
      ...{ CNI_PATH: OURS, CNI_ARGS: `${POD}u1`, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    };
    const input = JSON.stringify(conf(plugin, policy("open")));
    const { status, stderr } = await bed.node.run(`${OURS}/${plugin}`, [], input, environment);
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^\w+: pod shop\/web-1 is attached without its Netw/)]);
    expect(stderr).toMatch(reason);
    expect(await bed.pod.pings("198.51.100.2")).toBe(true);
  });

  test("is not asked for a container without a pod", async () => {
    await weftd.stop();
    const { status } = await bed.call(OURS, plugin, "ADD", conf(plugin, policy()));
    expect(status).toBe(0);
  });
});

describe.each(PLUGINS)("%s: the connections of an earlier pod with the same address", (plugin) => {
  /** One address of each family, so that every pod gets the same. */
  const REUSED = {
    ipam: {
      ...IPAM,
      ranges: [
        [{ subnet: "10.22.0.0/16", rangeStart: "10.22.0.9", rangeEnd: "10.22.0.9" }],
        [{ subnet: "fd00:22::/64", rangeStart: "fd00:22::9", rangeEnd: "fd00:22::9" }],
      ],
    },
  };
  const [FOUR, SIX] = ["10.22.0.9", "fd00:22::9"];

  /** The connections of the address, as `conntrack` lists them, without their numbers. */
  async function connections(): Promise<string[]> {
    const lists = ["ipv4", "ipv6"].map((family) => bed.node.succeed("conntrack", ["-L", "-f", family]));
    const lines = (await Promise.all(lists)).join("").split("\n");
    return lines
      .filter((line) => line.includes(`=${FOUR} `) || line.includes(`=${SIX} `))
      .map((line) => line.split(" ")[0] ?? "");
  }

  async function earlierPod() {
    const pod = await attach(plugin, { ...REUSED, ...policy() });
    expect(pod.addresses).toEqual([FOUR, SIX]);
    await outside.listen(PORT);
    for (const address of [OUTSIDE[4], OUTSIDE[6]]) {
      expect(await bed.pod.pings(address)).toBe(true);
      expect(await bed.pod.seenBy(address, PORT)).toMatch(/::9|0\.9/);
    }
    expect([...new Set(await connections())].sort()).toEqual(["icmp", "icmpv6", "tcp"]);
    return pod;
  }

  test("are gone when ADD returns", async () => {
    await weftd.set({ known: "at once", command: "add element inet first peersFAMILY { ADDRESS }" });
    const first = await earlierPod();
    await first.detach();
    expect((await connections()).length).toBeGreaterThan(0);
    await attach(plugin, { ...REUSED, ...policy() });
    expect(await connections()).toEqual([]);
  });

  test("are gone two seconds after the earlier pod has ended", async () => {
    await weftd.set({ known: "at once", command: "add element inet first peersFAMILY { ADDRESS }" });
    const first = await earlierPod();
    await first.detach();
    await weftd.clean();
    expect(await connections()).toEqual([]);
  });
});
