/**
 * The floors of the benchmark (test/bench/floor) are honest: they lead to the state to which weft leads, pods can use it,
 * and DEL leaves nothing. Another program than ours reads the state: ip, tc and nft.
 */
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { compileAll, FLOORS, TABLES } from "../bench/compile.ts";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";
import { eventually } from "./harness/process.ts";

const NETWORK = { cniVersion: "1.1.0", name: "net" };
const IPAM = {
  type: "host-local",
  ranges: [[{ subnet: "10.22.0.0/24" }]],
  routes: [{ dst: "10.96.0.0/12" }],
  dataDir: "/var/lib/cni/networks",
};
const CONFIGURATIONS: Readonly<Record<string, object>> = {
  loopback: {},
  bridge: { bridge: "cni0", isDefaultGateway: true, hairpinMode: true, mtu: 1450, ipMasq: true, ipam: IPAM },
  ptp: { mtu: 1450, ipam: IPAM },
  portmap: { runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] } },
  bandwidth: { ingressRate: 1e8, ingressBurst: 1e6, egressRate: 1e8, egressBurst: 1e6 },
};
const CHAIN = ["loopback", "bridge", "portmap", "bandwidth"];

interface Link {
  readonly ifname: string;
  readonly address: string;
  readonly operstate: string;
  readonly mtu: number;
  readonly master?: string;
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_kind?: string; readonly info_slave_data?: { readonly hairpin?: boolean } };
  readonly addr_info: readonly { readonly family: string; readonly scope: string }[];
}

/** An object of nft's JSON output. */
interface Rules {
  readonly nftables: readonly {
    readonly chain?: { readonly table: string; readonly type?: string; readonly hook?: string; readonly prio?: number };
    readonly set?: Elements;
    readonly map?: Elements;
  }[];
}
interface Elements {
  readonly table: string;
  readonly name: string;
  readonly elem?: readonly unknown[];
}

const beds: PluginBed[] = [];
afterEach(async () => {
  for (const bed of beds.splice(0)) await bed.close();
});

/** The emulated machine has no compiler. */
describe.skipIf(process.env.WEFT_VM !== undefined)("floors", () => {
  beforeAll(compileAll);

  test.each<[string, readonly string[]]>([
    ["chain", CHAIN],
    ["ptp", ["ptp"]],
  ])("%s: ADD leads to weft's state, the pod reaches its gateway, and DEL leaves nothing", async (_, plugins) => {
    const [ours, floor] = [await makeBed(), await makeBed()];
    await floor.node.succeed("nft", ["-f", TABLES]);
    await floor.node.succeed("mkdir", ["-p", `${IPAM.dataDir}/${NETWORK.name}`]);

    const added = { ours: await add(ours, OURS, plugins), floor: await add(floor, FLOORS, plugins) };
    expect(shapeOf(added.floor)).toEqual(shapeOf(added.ours));
    expect(await stateOf(floor)).toEqual(await stateOf(ours));
    for (const elements of (await rulesOf(floor)).elements)
      expect((await rulesOf(ours)).elements).toContainEqual(elements);
    for (const chain of (await rulesOf(floor)).chains) {
      if (chain.startsWith("portmap") && !plugins.includes("portmap")) continue;
      if (chain.startsWith("masquerade") && !plugins.includes("bridge")) continue;
      expect((await rulesOf(ours)).chains).toContain(chain);
    }
    expect((await rulesOf(floor)).count).toBe(plugins.includes("portmap") ? 5 : 0);
    await floor.pod.succeed("ping", ["-c", "1", "-W", "5", "10.22.0.1"]);
    await floor.node.succeed("ping", ["-c", "1", "-W", "5", "10.22.0.2"]);

    await del(ours, OURS, plugins, added.ours);
    await del(floor, FLOORS, plugins, added.floor);
    // The kernel sets the state of a bridge without ports a moment later.
    await eventually(async () => expect(await stateOf(floor)).toEqual(await stateOf(ours)));
    const names = async (inside: PluginBed["node"]) =>
      (await inside.json<Link[]>("ip", ["-j", "link", "show"])).map(({ ifname }) => ifname);
    expect(await names(floor.node)).toEqual(plugins.includes("bridge") ? ["lo", "cni0"] : ["lo"]);
    expect(await names(floor.pod)).toEqual(["lo"]);
    expect(await floor.reservations()).toBe("");
    expect((await rulesOf(floor)).count).toBe(0);
  });

  test("a floor's port leads to the pod, from the node and from 127.0.0.1", async () => {
    const floor = await makeBed();
    await floor.node.succeed("nft", ["-f", TABLES]);
    await floor.node.succeed("mkdir", ["-p", `${IPAM.dataDir}/${NETWORK.name}`]);
    await add(floor, FLOORS, CHAIN);
    await floor.pod.listen(80);
    const gateway = "10.22.0.1";
    expect(await floor.pod.seenBy(gateway, 8080)).toContain(gateway);
    expect(await floor.node.seenBy("127.0.0.1", 8080)).toContain(gateway);
  });

  test("a floor's pod leaves its network with the node's address", async () => {
    const floor = await makeBed();
    await floor.node.succeed("nft", ["-f", TABLES]);
    await floor.node.succeed("mkdir", ["-p", `${IPAM.dataDir}/${NETWORK.name}`]);
    await add(floor, FLOORS, ["bridge"]);
    const outside = await floor.anotherPod("outside");
    await floor.node.succeed("ip", [
      "link",
      "add",
      "up0",
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      outside.namespace.name,
    ]);
    await floor.node.succeed("sh", ["-c", "ip address add 192.0.2.1/24 dev up0 && ip link set up0 up"]);
    await outside.inside.succeed("sh", ["-c", "ip address add 192.0.2.2/24 dev eth0 && ip link set eth0 up"]);
    await outside.inside.listen(80);
    expect(await floor.pod.seenBy("192.0.2.2", 80)).toContain("192.0.2.1");
  });

  test("a second floor's ADD takes another address and keeps the bridge's", async () => {
    const bed = await makeBed();
    await bed.node.succeed("nft", ["-f", TABLES]);
    await bed.node.succeed("mkdir", ["-p", `${IPAM.dataDir}/${NETWORK.name}`]);
    const other = await bed.anotherPod("other");
    const bridgeMac = async () => (await bed.node.json<Link[]>("ip", ["-j", "link", "show", "cni0"]))[0]?.address;

    const first = await bed.call(FLOORS, "bridge", "ADD", configurationOf("bridge"));
    const mac = await bridgeMac();
    const second = await bed.call(FLOORS, "bridge", "ADD", configurationOf("bridge"), {
      ...{ containerId: "c2", netns: other.namespace.path },
    });
    expect([first, second].map(({ json }) => json.ips[0].address)).toEqual(["10.22.0.2/24", "10.22.0.3/24"]);
    expect(await bridgeMac()).toBe(mac);
    await other.inside.succeed("ping", ["-c", "1", "-W", "5", "10.22.0.2"]);
  });

  test("start answers VERSION as weft does, and STATUS by its exit status", async () => {
    const bed = await makeBed();
    const versions = async (bin: string, name: string) =>
      (await bed.call(bin, name, "VERSION", { cniVersion: "1.1.0" })).json.supportedVersions;
    expect(await versions(FLOORS, "start")).toEqual(await versions(OURS, "bridge"));
    expect(await bed.call(FLOORS, "start", "STATUS", configurationOf("bridge"))).toMatchObject({
      status: 0,
      output: "",
    });
  });

  test("a floor whose request fails exits with 1", async () => {
    const bed = await makeBed();
    const netns = join("/run/netns", "weft-none");
    const answer = await bed.call(FLOORS, "loopback", "ADD", configurationOf("loopback"), { netns });
    expect(answer.status).toBe(1);
  });
});

async function makeBed(): Promise<PluginBed> {
  const bed = await PluginBed.make();
  beds.push(bed);
  await bed.pod.succeed("ip", ["link", "set", "lo", "down"]);
  return bed;
}

function configurationOf(plugin: string): object {
  return { ...NETWORK, type: plugin, ...CONFIGURATIONS[plugin] };
}

/** The result of the last plugin. */
async function add(bed: PluginBed, bin: string, plugins: readonly string[]): Promise<object> {
  let prevResult: object | undefined;
  for (const plugin of plugins) {
    const { status, json, output } = await bed.call(bin, plugin, "ADD", { ...configurationOf(plugin), prevResult });
    expect(status, output).toBe(0);
    if (plugin !== "loopback") prevResult = json;
  }
  return prevResult ?? {};
}

async function del(bed: PluginBed, bin: string, plugins: readonly string[], prevResult: object): Promise<void> {
  for (const plugin of plugins.toReversed())
    expect(await bed.call(bin, plugin, "DEL", { ...configurationOf(plugin), prevResult })).toMatchObject({ status: 0 });
}

/** A result without names and addresses that differ in each call. */
function shapeOf(result: object): unknown {
  return JSON.parse(
    JSON.stringify(result, (key, value) => (key === "mac" || key === "sandbox" ? "" : value))
      .replaceAll(/veth[0-9a-f]{8}/g, "veth")
      .replaceAll(/bwp[0-9a-f]{12}/g, "ifb"),
  );
}

/** What pods need, without numbers, hardware addresses and names that differ in each call. */
async function stateOf(bed: PluginBed) {
  // The kernel sets the state of links a moment after their change.
  await eventually(async () => {
    for (const inside of [bed.node, bed.pod]) {
      const links = await inside.json<Link[]>("ip", ["-j", "link", "show", "up", "type", "veth"]);
      for (const { ifname, operstate } of links) if (operstate !== "UP") throw new Error(`${ifname} is ${operstate}`);
    }
  });
  const nodeLinks = await bed.node.json<Link[]>("ip", ["-j", "-d", "address", "show"]);
  const podLinks = await bed.pod.json<Link[]>("ip", ["-j", "-d", "address", "show"]);
  const port = nodeLinks.find(({ linkinfo }) => linkinfo?.info_kind === "veth")?.ifname;
  const neutral = (value: unknown): unknown =>
    JSON.parse(
      JSON.stringify(value)
        .replaceAll(/veth[0-9a-f]{8}/g, "veth")
        .replaceAll(/bwp[0-9a-f]{12}/g, "ifb"),
    );
  const read = async (inside: PluginBed["node"], path: string) => (await inside.succeed("cat", [path])).trim();
  const json = async (inside: PluginBed["node"], ...command: [string, ...string[]]) =>
    neutral(await inside.json<object[]>(command[0], command.slice(1)));
  const own = (links: readonly Link[]) => links.filter(({ ifname }) => ifname !== "cni0").map(describeLink);
  return {
    bridge: neutral(nodeLinks.filter(({ ifname }) => ifname === "cni0").map(describeLink)),
    node: neutral(own(nodeLinks)),
    pod: neutral(own(podLinks)),
    routes: [
      await json(bed.pod, "ip", "-j", "route", "show", "table", "main"),
      await json(bed.node, "ip", "-j", "route", "show", "table", "main"),
    ],
    buckets: await json(bed.node, "tc", "-j", "qdisc", "show"),
    redirections: port === undefined ? [] : await json(bed.node, "tc", "-j", "filter", "show", "dev", port, "ingress"),
    settings: [
      await read(bed.node, "/proc/sys/net/ipv4/ip_forward"),
      ...(port === undefined
        ? []
        : [
            await read(bed.node, `/proc/sys/net/ipv6/conf/${port}/accept_ra`),
            await read(bed.pod, "/proc/sys/net/ipv4/conf/eth0/arp_notify"),
          ]),
      await read(bed.node, "/proc/sys/net/ipv4/conf/cni0/route_localnet").catch(() => ""),
      await read(bed.node, "/proc/sys/net/ipv6/conf/cni0/accept_ra").catch(() => ""),
    ],
    reservations: await bed.reservations(),
  };
}

function describeLink({ ifname, mtu, flags, master, operstate, linkinfo, addr_info }: Link): object {
  return {
    ...{ ifname, mtu, operstate, master, kind: linkinfo?.info_kind, hairpin: linkinfo?.info_slave_data?.hairpin },
    flags: flags.toSorted(),
    addresses: addr_info.filter(({ family, scope }) => family === "inet" || scope !== "link"),
  };
}

/** Elements and base chains, without the prefix of the table's name and without comments. */
async function rulesOf(bed: PluginBed) {
  const { nftables } = await bed.node.json<Rules>("nft", ["-j", "list", "ruleset"]);
  const elements = nftables.flatMap(({ set, map }) => {
    const found = set ?? map;
    if (found?.elem === undefined) return [];
    return found.elem.map((elem) => ({ set: `${kindOf(found.table)} ${found.name}`, elem: withoutComment(elem) }));
  });
  const chains = nftables.flatMap(({ chain }) =>
    chain?.hook === undefined ? [] : [`${kindOf(chain.table)} ${chain.type} ${chain.hook} ${chain.prio}`],
  );
  return { elements, chains, count: elements.length };
}

function kindOf(table: string): string {
  return table.slice(table.indexOf("_") + 1);
}

/** nft wraps an element that has a comment: { elem: { val, comment } }. */
function withoutComment(element: unknown): unknown {
  if (Array.isArray(element)) return element.map(withoutComment);
  if (typeof element !== "object" || element === null || !("elem" in element)) return element;
  return (element.elem as { readonly val: unknown }).val;
}
