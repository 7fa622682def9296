/**
 * `guardSenders` on a real kernel: what a pod with CAP_NET_RAW forges reaches nothing, and what it sends honestly passes.
 * The same frames from a pod of a network without guards arrive, so each frame is one that the kernel would accept.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import { formatAddress } from "../../pkg/ip/address.ts";
import { linkLocalOf } from "../../pkg/ip/mac.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { ALL_NODES_MAC, arp, BROADCAST, discovery, Frames, frame, type Place, udp4, udp6 } from "./harness/frames.ts";
import type { Inside } from "./harness/inside.ts";
import { type CallOptions, OURS, PluginBed } from "./harness/plugin-bed.ts";

const IPAM = {
  type: "host-local",
  ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
};
const [GATEWAY_4, GATEWAY_6] = ["10.22.0.1", "fd00:22::1"];
const ALL_NODES = "ff02::1";
const FORGED_MAC = "02:00:5e:00:00:99";
const LLDP_MAC = "01:80:c2:00:00:0e";

let bed: PluginBed;
let frames: Frames;
let cleanup: Cleanup;
beforeEach(async () => {
  cleanup = new Cleanup();
  bed = await PluginBed.make();
  frames = await Frames.make(cleanup);
});
afterEach(async () => {
  await bed.close();
  await cleanup.run();
});

interface Attached extends Place {
  readonly plugin: string;
  readonly inside: Inside;
  readonly options: CallOptions;
  readonly configuration: object;
  readonly addresses: readonly [string, string];
  readonly mac: string;
  readonly linkLocal: string;
  readonly port: string;
  readonly portMac: string;
}

async function attach(plugin: "bridge" | "ptp", label: string, more: object = {}): Promise<Attached> {
  const { namespace, inside } = await bed.anotherPod(label);
  const options = { containerId: label, netns: namespace.path };
  const configuration = {
    ...{ cniVersion: "1.1.0", name: "net", type: plugin, bridge: "cni0", isGateway: true, ipam: IPAM },
    ...{ guardSenders: true, ...more },
  };
  const { status, json } = await bed.call(OURS, plugin, "ADD", configuration, options);
  expect(json).toMatchObject({ ips: expect.anything() });
  expect(status).toBe(0);
  const [host, pod] = plugin === "bridge" ? json.interfaces.slice(1) : json.interfaces;
  return {
    ...{ plugin, inside, interface: "eth0", options, configuration: { ...configuration, prevResult: json } },
    addresses: json.ips.map((each: { address: string }) => each.address.split("/")[0]),
    ...{ mac: pod.mac, port: host.name, portMac: host.mac, linkLocal: formatAddress(linkLocalOf(pod.mac)) },
  };
}

const macOf = async (inside: Inside, name: string): Promise<string> =>
  ((await inside.json<{ address: string }[]>("ip", ["-j", "link", "show", name]))[0] ?? { address: "" }).address;

/** Addresses with the hardware addresses of a namespace's neighbours. */
async function neighbours(inside: Inside): Promise<Record<string, string>> {
  const all = await inside.json<{ dst: string; lladdr?: string }[]>("ip", ["-j", "neigh", "show"]);
  return Object.fromEntries(all.flatMap(({ dst, lladdr }) => (lladdr === undefined ? [] : [[dst, lladdr]])));
}

/** The frames that say that `from` may use something of another. The names are in the frames. */
function forgeries(from: Attached, victim: Attached, bridgeMac: string): Record<string, (words: string) => Uint8Array> {
  const { mac, linkLocal } = from;
  const [own4, own6] = from.addresses;
  const [other4, other6] = victim.addresses;
  const all4 = { from: mac, to: BROADCAST };
  const all6 = { from: mac, to: ALL_NODES_MAC };
  const toVictim = { from: mac, to: victim.mac };
  const claim = (target: string, more: object = {}) => ({
    ...{ type: 136, flags: [0x20, 0, 0, 0] as const, target, option: [2, mac] as const },
    ...more,
  });
  const bridgeLink = formatAddress(linkLocalOf(bridgeMac));
  return {
    "IPv4 of another": (words) => frame(all4, "ipv4", udp4({ from: other4, to: "255.255.255.255" }, words)),
    "IPv4 of the gateway": (words) => frame(toVictim, "ipv4", udp4({ from: GATEWAY_4, to: other4 }, words)),
    "IPv4 from outside": (words) => frame(toVictim, "ipv4", udp4({ from: "198.51.100.9", to: other4 }, words)),
    "hardware address of another": (words) =>
      frame({ from: FORGED_MAC, to: BROADCAST }, "ipv4", udp4({ from: own4, to: "255.255.255.255" }, words)),
    "DHCP without an address": (words) =>
      frame(all4, "ipv4", udp4({ from: "0.0.0.0", to: "255.255.255.255" }, words, [68, 67])),
    "VLAN tag 0": (words) => frame(all4, "ipv4", udp4({ from: own4, to: "255.255.255.255" }, words), [0x8100, 0]),
    "VLAN tag 7": (words) => frame(all4, "ipv4", udp4({ from: other4, to: "255.255.255.255" }, words), [0x8100, 7]),
    "provider tag": (words) => frame(all4, "ipv4", udp4({ from: own4, to: "255.255.255.255" }, words), [0x88a8, 7]),
    "other protocol": (words) => frame(all4, 0x8137, new TextEncoder().encode(words)),
    "ARP answer for the gateway": (words) =>
      frame(toVictim, "arp", arp({ operation: "reply", mac, address: GATEWAY_4, target: other4 }, words)),
    "gratuitous ARP": (words) =>
      frame(all4, "arp", arp({ operation: "request", mac, address: other4, target: other4 }, words)),
    "ARP request of the gateway": (words) =>
      frame(all4, "arp", arp({ operation: "request", mac, address: GATEWAY_4, target: other4 }, words)),
    "ARP with another hardware address": (words) =>
      frame(all4, "arp", arp({ operation: "request", mac: FORGED_MAC, address: own4, target: other4 }, words)),
    "ARP answer without an address": (words) =>
      frame(all4, "arp", arp({ operation: "reply", mac, address: "0.0.0.0", target: other4 }, words)),
    "IPv6 of another": (words) => frame(all6, "ipv6", udp6({ from: other6, to: ALL_NODES }, words)),
    "UDP of the link": (words) => frame(toVictim, "ipv6", udp6({ from: linkLocal, to: victim.linkLocal }, words)),
    "UDP without a source": (words) => frame(all6, "ipv6", udp6({ from: "::", to: ALL_NODES }, words)),
    "advertisement for another": (words) =>
      frame(all6, "ipv6", discovery({ from: own6, to: ALL_NODES }, claim(other6), words)),
    "advertisement for the gateway": (words) =>
      frame(toVictim, "ipv6", discovery({ from: linkLocal, to: other6 }, claim(GATEWAY_6), words)),
    "advertisement for the bridge": (words) =>
      frame(toVictim, "ipv6", discovery({ from: linkLocal, to: other6 }, claim(bridgeLink), words)),
    "advertisement behind options": (words) =>
      frame(
        toVictim,
        "ipv6",
        discovery({ from: own6, to: other6 }, claim(GATEWAY_6, { isBehindOptions: true }), words),
      ),
    "advertisement of another": (words) =>
      frame(toVictim, "ipv6", discovery({ from: GATEWAY_6, to: other6 }, claim(own6), words)),
    "forwarded advertisement": (words) =>
      frame(toVictim, "ipv6", discovery({ from: own6, to: other6 }, claim(own6, { hopLimit: 254 }), words)),
    "detection of another address": (words) =>
      frame(all6, "ipv6", discovery({ from: "::", to: "ff02::1" }, { type: 135, target: other6 }, words)),
    "solicitation of the gateway": (words) => {
      const asked = { type: 135, target: other6, option: [1, mac] as const };
      return frame(toVictim, "ipv6", discovery({ from: GATEWAY_6, to: other6 }, asked, words));
    },
    "router advertisement": (words) =>
      frame(
        all6,
        "ipv6",
        discovery({ from: linkLocal, to: ALL_NODES }, { type: 134, flags: [64, 0, 7, 8], target: "::" }, words),
      ),
    redirect: (words) =>
      frame(toVictim, "ipv6", discovery({ from: bridgeLink, to: other6 }, { type: 137, target: own6 }, words)),
    "own redirect": (words) =>
      frame(toVictim, "ipv6", discovery({ from: linkLocal, to: other6 }, { type: 137, target: own6 }, words)),
  };
}

/** Frames that mark the beginning and the end, which any pod may send. */
const marks = ({ mac, addresses: [own4] }: Attached) => {
  const mark = (words: string) =>
    frame({ from: mac, to: BROADCAST }, "ipv4", udp4({ from: own4, to: "255.255.255.255" }, words));
  return { start: mark("honest-start;"), end: mark("honest-end;") };
};

/** The words in frames from `sender` that arrive at the victim and at the node. */
async function arrivals(sender: Attached, victim: Attached, list: Record<string, (words: string) => Uint8Array>) {
  const sent = Object.entries(list).map(([name, make]) => make(`forged-${name};`));
  const places = [victim, { inside: bed.node, interface: "cni0" }];
  const seen = await frames.captured(sender, marks(sender), places, () => frames.send(sender, sent));
  for (const words of seen) expect(words).toEqual(expect.arrayContaining(["honest-start;", "honest-end;"]));
  return seen.map((words) => [...new Set(words.filter((word) => word.startsWith("forged")))].sort());
}

test("a bridged pod can forge nothing, while a pod of a network that opts out can", { timeout: 120_000 }, async () => {
  const [guarded, victim] = [await attach("bridge", "a"), await attach("bridge", "b")];
  const free = await attach("bridge", "c", { guardSenders: false });
  const bridgeMac = await macOf(bed.node, "cni0");
  for (const address of [GATEWAY_4, GATEWAY_6, ...guarded.addresses, ...free.addresses])
    expect(await victim.inside.pings(address)).toBe(true);
  const known = [await neighbours(victim.inside), await neighbours(bed.node)];
  const forged = forgeries(guarded, victim, bridgeMac);
  expect(await arrivals(guarded, victim, forged)).toEqual([[], []]);
  const now = [await neighbours(victim.inside), await neighbours(bed.node)];
  for (const at of [0, 1]) expect(now[at]).toMatchObject(known[at] ?? {});

  const [atVictim] = await arrivals(free, victim, forgeries(free, victim, bridgeMac));
  expect(atVictim).toEqual(
    Object.keys(forged)
      .map((name) => `forged-${name};`)
      .sort(),
  );
  const poisoned = await neighbours(victim.inside);
  expect([poisoned[GATEWAY_4], poisoned[GATEWAY_6]]).toEqual([free.mac, free.mac]);
});

test("a bridged pod reaches the node by no address that bridges do not forward", async () => {
  const guarded = await attach("bridge", "a");
  const to = { from: guarded.mac, to: LLDP_MAC };
  await frames.send(guarded, [frame(to, "ipv4", udp4({ from: "198.51.100.9", to: GATEWAY_4 }, "forged-reserved;"))]);
  const chain = await bed.node.succeed("nft", ["list", "chain", "inet", "weft-senders", "ipv4-packets"]);
  expect(chain).toMatch(/counter packets 1 /);
});

test.each(["bridge", "ptp"] as const)("honest packets of a %s pod pass", { timeout: 60_000 }, async (plugin) => {
  const [one, two] = [await attach(plugin, "a"), await attach(plugin, "b", { enabledad: true })];
  await one.inside.listen(8080);
  await two.inside.listen(8081, "udp");
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const)
    for (const address of [...to.addresses, GATEWAY_4, GATEWAY_6]) expect(await from.inside.pings(address)).toBe(true);
  for (const at of [0, 1] as const) {
    expect(await two.inside.seenBy(one.addresses[at], 8080)).toContain(two.addresses[at]);
    expect(await one.inside.seenBy(two.addresses[at], 8081, { transport: "udp" })).toContain(one.addresses[at]);
    expect(await bed.node.pings(one.addresses[at])).toBe(true);
  }
  // Neighbours ask again, from either side.
  for (const inside of [one.inside, two.inside, bed.node]) await inside.succeed("ip", ["neigh", "flush", "all"]);
  for (const address of two.addresses) expect(await one.inside.pings(address)).toBe(true);
  const { stdout } = await bed.node.run("nft", [
    "list",
    "table",
    plugin === "bridge" ? "bridge" : "inet",
    "weft-senders",
  ]);
  expect(
    [...stdout.matchAll(/counter packets (\d+) .*comment "([^"]*)"/g)].filter(([, count]) => count !== "0"),
  ).toEqual([]);
  // The pod's own detection of duplicate addresses, and its announcements.
  await one.inside.succeed("ip", ["link", "set", "eth0", "down"]);
  await one.inside.succeed("ip", ["link", "set", "eth0", "up"]);
});

test("a routed pod sends only from its own addresses, while one of a network that opts out sends from others", async () => {
  for (const name of ["all", "default"]) await bed.node.succeed("sysctl", ["-qw", `net.ipv4.conf.${name}.rp_filter=0`]);
  const [guarded, victim, third] = [await attach("ptp", "a"), await attach("ptp", "b"), await attach("ptp", "c")];
  const free = await attach("ptp", "d", { guardSenders: false });
  await bed.node.succeed("sysctl", ["-qw", `net.ipv4.conf.${free.port}.rp_filter=0`]);
  const list = ({ mac, portMac, addresses, linkLocal }: Attached) => {
    const to = { from: mac, to: portMac };
    const send4 = (from: string, words: string) => frame(to, "ipv4", udp4({ from, to: victim.addresses[0] }, words));
    const send6 = (from: string, words: string) => frame(to, "ipv6", udp6({ from, to: victim.addresses[1] }, words));
    return {
      forged: [
        send4(third.addresses[0], "forged-IPv4;"),
        send4("198.51.100.9", "forged-IPv4 from outside;"),
        send6(third.addresses[1], "forged-IPv6;"),
        send6("2001:db8::9", "forged-IPv6 from outside;"),
      ],
      ofLink: [send6(linkLocal, "forged-of the link;")],
      marks: { start: send4(addresses[0], "honest-start;"), end: send4(addresses[0], "honest-end;") },
    };
  };
  const reach = async (sender: Attached): Promise<string[]> => {
    const { forged, ofLink, marks } = list(sender);
    const send = () => frames.send(sender, [...forged, ...ofLink]);
    const [words = []] = await frames.captured(sender, marks, [victim], send);
    expect(words).toEqual(expect.arrayContaining(["honest-start;", "honest-end;"]));
    return [...new Set(words.filter((word) => word.startsWith("forged")))].sort();
  };
  // The bed has no other neighbours: resolve the victim first.
  for (const address of victim.addresses) expect(await bed.node.pings(address)).toBe(true);
  expect(await reach(guarded)).toEqual([]);
  expect(await reach(free)).toEqual([
    "forged-IPv4 from outside;",
    "forged-IPv4;",
    "forged-IPv6 from outside;",
    "forged-IPv6;",
  ]);
});

test.each([
  ["bridge", "bridge"],
  ["ptp", "inet"],
] as const)(
  "%s marks elements, CHECK verifies them, and DEL, GC and a failed ADD remove them",
  { timeout: 60_000 },
  async (plugin, family) => {
    const call = (verb: string, input: object, options?: CallOptions) => bed.call(OURS, plugin, verb, input, options);
    const table = () => bed.node.succeed("nft", ["list", "table", family, "weft-senders"]);
    const [first, second] = [await attach(plugin, "a"), await attach(plugin, "b")];
    expect(await table()).toContain(`"${first.port}" . ${first.addresses[0]} comment "cni:net/a/eth0"`);
    expect(await call("CHECK", first.configuration, first.options)).toMatchObject({ status: 0 });
    const element = `{ "${first.port}" . ${first.addresses[1]} }`;
    await bed.node.succeed("nft", [`delete element ${family} weft-senders addresses6 ${element}`]);
    expect(await call("CHECK", first.configuration, first.options)).toMatchObject({
      status: 1,
      json: { msg: expect.stringContaining(`packets of ${first.port} are not restricted`) },
    });
    // One of the keys is missing.
    expect(await call("DEL", first.configuration, first.options)).toMatchObject({ status: 0 });
    expect(await table()).not.toContain(first.port);
    expect(await call("DEL", first.configuration, first.options)).toMatchObject({ status: 0 });
    expect(await table()).toContain(second.port);

    const before = await table();
    const { namespace } = await bed.anotherPod("failing");
    const route = { dst: "10.99.0.0/16", gw: "198.51.100.9" };
    const refused = { ...first.configuration, prevResult: undefined, ipam: { ...IPAM, routes: [route] } };
    expect(await call("ADD", refused, { containerId: "x", netns: namespace.path })).toMatchObject({ status: 1 });
    expect(await table()).toBe(before);

    const lost = await attach(plugin, "d");
    const valid = { "cni.dev/valid-attachments": [{ containerID: "b", ifname: "eth0" }] };
    expect(await call("GC", { ...second.configuration, prevResult: undefined, ...valid })).toMatchObject({ status: 0 });
    expect(await table()).toContain(second.port);
    expect(await table()).not.toContain(lost.port);

    await bed.node.succeed("nft", ["delete", "table", family, "weft-senders"]);
    const third = await attach(plugin, "e");
    expect(await table()).toContain(third.port);
    expect(await call("DEL", second.configuration, second.options)).toMatchObject({ status: 0 });
  },
);

test("many pods are attached at the same time", { timeout: 60_000 }, async () => {
  const pods = await bed.emptyPods(12);
  const configuration = {
    ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "cni0", isGateway: true, ipam: IPAM },
    guardSenders: true,
  };
  const added = await Promise.all(
    pods.map(({ path }, at) => bed.call(OURS, "bridge", "ADD", configuration, { containerId: `m${at}`, netns: path })),
  );
  expect(added.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(12).fill(0));
  const table = await bed.node.succeed("nft", ["list", "table", "bridge", "weft-senders"]);
  for (const { json } of added) expect(table.split(json.interfaces[1].name)).toHaveLength(9);
});
