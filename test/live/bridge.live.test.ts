/**
 * bridge with host-local on a real kernel, tested by what pods can do. test/differential compares it with the
 * reference.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Answer, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const conf = (more: object = {}) => ({
  cniVersion: "1.1.0",
  name: "net",
  type: "bridge",
  bridge: "cni0",
  ipam: IPAM,
  ...more,
});
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const bridge = (verb: string, input: unknown, options = {}) => bed.call(OURS, "bridge", verb, input, options);
const withResult = (configuration: object, { json }: Answer) => ({ ...configuration, prevResult: json });

test("weft and the reference delete each other's attachments", async () => {
  const configuration = conf({ isDefaultGateway: true });
  for (const [adder, deleter] of [
    [OURS, REFERENCE],
    [REFERENCE, OURS],
  ] as const) {
    const added = await bed.call(adder, "bridge", "ADD", configuration);
    expect(added.status).toBe(0);
    expect(await bed.call(adder, "bridge", "CHECK", withResult(configuration, added))).toMatchObject({ status: 0 });
    expect(await bed.call(deleter, "bridge", "DEL", withResult(configuration, added))).toMatchObject({ status: 0 });
    expect(await bed.reservations()).toBe("");
    expect(await bed.pod.json("ip", ["-j", "link", "show"])).toHaveLength(1);
  }
});

describe("a pod", () => {
  test("reaches its gateway and another pod by IPv4 and IPv6 as soon as ADD returns", async () => {
    const other = await bed.anotherPod("other");
    const configuration = conf({ isDefaultGateway: true, ipam: DUAL });
    expect(await bridge("ADD", configuration)).toMatchObject({ status: 0 });
    expect(await bridge("ADD", configuration, { containerId: "c2", netns: other.namespace.path })).toMatchObject({
      status: 0,
    });
    for (const address of ["10.22.0.1", "10.22.0.3", "fd00:22::1", "fd00:22::3"]) {
      expect(await bed.pod.pings(address), address).toBe(true);
    }
  });

  test("reaches itself through the bridge with hairpin mode", async () => {
    await bridge("ADD", conf({ isDefaultGateway: true, hairpinMode: true }));
    const ports = await bed.node.json<{ ifname: string; hairpin: boolean }[]>("bridge", ["-j", "-d", "link", "show"]);
    expect(ports).toMatchObject([{ hairpin: true }]);
  });

  test("has a host end marked with its owner", async () => {
    await bridge("ADD", conf());
    const links = await bed.node.json<{ ifname: string; ifalias?: string }[]>("ip", ["-j", "link", "show"]);
    expect(links.find(({ ifname }) => ifname.startsWith("veth"))?.ifalias).toBe("cni:net/c1/eth0");
  });

  test("with ipMasq has the host's address outside its subnet, and its own inside", async () => {
    const outside = await bed.anotherPod("outside");
    await bed.node.succeed("ip", [
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
    await bed.node.succeed("ip", ["address", "add", "198.51.100.1/24", "dev", "up0"]);
    await bed.node.succeed("ip", ["link", "set", "up0", "up"]);
    await outside.inside.succeed("ip", ["address", "add", "198.51.100.2/24", "dev", "eth0"]);
    await outside.inside.succeed("ip", ["link", "set", "eth0", "up"]);
    await outside.inside.succeed("ip", ["route", "add", "10.22.0.0/24", "via", "198.51.100.1"]);
    await outside.inside.listen(7001);
    const configuration = conf({ isDefaultGateway: true, ipMasq: true });
    const added = await bridge("ADD", configuration);
    expect(await bed.pod.seenBy("198.51.100.2", 7001)).toBe("198.51.100.1");
    const neighbour = await bed.anotherPod("neighbour");
    await bridge("ADD", conf({ isDefaultGateway: true }), { containerId: "c2", netns: neighbour.namespace.path });
    await neighbour.inside.listen(7002);
    expect(await bed.pod.seenBy("10.22.0.3", 7002)).toBe("10.22.0.2");
    expect(await neighbour.inside.seenBy("198.51.100.2", 7001)).toBe("10.22.0.3");
    await bridge("DEL", withResult(configuration, added));
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toContain("10.22.0.2");
  });
});

describe("DEL", () => {
  test("succeeds twice without output", async () => {
    await bridge("ADD", conf());
    for (let turn = 1; turn <= 2; turn++)
      expect(await bridge("DEL", conf())).toEqual({ status: 0, output: "", json: undefined });
  });

  test.each([
    ["is empty", ""],
    ["is gone", "/run/netns/weft-test-nobody"],
    ["has become a plain file", "/etc/passwd"],
  ])("releases the address and the host's end if CNI_NETNS %s", async (_name, netns) => {
    await bridge("ADD", conf({ ipMasq: true, isGateway: true }));
    expect(await bridge("DEL", conf({ ipMasq: true, isGateway: true }), { netns })).toMatchObject({ status: 0 });
    expect(await bed.reservations()).toBe("");
    const links = await bed.node.json<{ ifname: string }[]>("ip", ["-j", "link", "show"]);
    expect(links.map(({ ifname }) => ifname)).toEqual(["lo", "cni0"]);
  });
});

describe("a failed ADD changes nothing", () => {
  const FULL = {
    type: "host-local",
    ranges: [[{ subnet: "10.22.0.0/24", rangeStart: "10.22.0.2", rangeEnd: "10.22.0.2" }]],
  };

  test.each([
    ["an exhausted range", { ipam: FULL }, "c2", 11, /no IP addresses available in range set/],
    [
      "an impossible route",
      { ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] } },
      "c2",
      999,
      /ip route prepend 10\.99\.0\.0\/16 via 198\.51\.100\.9/,
    ],
    ["the same attachment a second time", {}, "c1", 4, /interface eth0 already exists/],
    [
      "another gateway address on the bridge",
      { isGateway: true, ipam: { type: "host-local", ranges: [[{ subnet: "10.23.0.0/24" }]] } },
      "c2",
      7,
      /"cni0" already has an IP address different from 10\.23\.0\.1\/24/,
    ],
    ["a missing IPAM plugin", { ipam: { type: "nobody" } }, "c2", 7, /failed to find plugin "nobody"/],
    ["a device that is not a bridge", { bridge: "lo" }, "c2", 7, /lo already exists and is not a bridge/],
  ])("%s", async (_name, more, containerId, code, message) => {
    const other = await bed.anotherPod("other");
    await bridge("ADD", conf({ isGateway: true, ipam: FULL }));
    const netns = containerId === "c1" ? bed.podNamespace.path : other.namespace.path;
    const before = await bed.state();
    const answer = await bridge("ADD", conf(more), { containerId, netns });
    expect(answer).toMatchObject({ status: 1, json: { code, msg: expect.stringMatching(message) } });
    expect(await bed.state()).toEqual(before);
    expect(await other.inside.json("ip", ["-j", "link", "show"])).toHaveLength(1);
  });

  test("even if it made the bridge", async () => {
    const before = await bed.state();
    const answer = await bridge(
      "ADD",
      conf({ isGateway: true, ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] } }),
    );
    expect(answer.status).toBe(1);
    expect(await bed.state()).toEqual(before);
  });
});

describe("CHECK", () => {
  const configuration = conf({ isDefaultGateway: true, hairpinMode: true, mtu: 1400 });

  test.each([
    ["nothing", [], 0],
    ["the pod's interface", ["pod", "ip link del eth0"], 1],
    ["the pod's address", ["pod", "ip address flush dev eth0"], 1],
    ["the default route", ["pod", "ip route del default"], 1],
    ["the pod's MTU", ["pod", "ip link set eth0 mtu 1300"], 0],
    ["the state of the host's end", ["node", "ip link set $(ls /sys/class/net | grep veth) down"], 1],
    ["the bridge's port", ["node", "ip link set $(ip -o link | grep -o 'veth[0-9a-f]*' | head -n 1) nomaster"], 1],
    [
      "hairpin mode",
      ["node", "bridge link set dev $(ip -o link | grep -o 'veth[0-9a-f]*' | head -n 1) hairpin off"],
      1,
    ],
    ["the gateway's address", ["node", "ip address flush dev cni0"], 1],
    ["the reservation", ["node", "rm /var/lib/cni/networks/net/10.22.0.2"], 1],
  ] as const)("returns the right status with %s changed", async (_name, [where, command], status) => {
    const added = await bridge("ADD", configuration);
    if (where !== undefined && command !== undefined) {
      const script = command.replace(
        "$(ls /sys/class/net | grep veth)",
        "$(ip -o link | grep -o 'veth[0-9a-f]*' | head -n 1)",
      );
      await (where === "pod" ? bed.pod : bed.node).succeed("sh", ["-c", script]);
    }
    expect(await bridge("CHECK", withResult(configuration, added))).toMatchObject({ status });
  });
});

test("CHECK accepts a default route by another gateway if the result has no gateway", async () => {
  const configuration = conf({
    isGateway: true,
    ipam: { ...IPAM, routes: [{ dst: "0.0.0.0/0" }, { dst: "10.99.0.0/16" }] },
  });
  const added = await bridge("ADD", configuration);
  await bed.pod.succeed("ip", ["route", "replace", "default", "via", "10.22.0.50"]);
  await bed.pod.succeed("ip", ["route", "replace", "10.99.0.0/16", "via", "10.22.0.50"]);
  expect(await bridge("CHECK", withResult(configuration, added))).toMatchObject({ status: 0 });
  await bed.pod.succeed("ip", ["route", "del", "10.99.0.0/16"]);
  expect(await bridge("CHECK", withResult(configuration, added))).toMatchObject({ status: 1 });
});

test("CHECK succeeds after tuning has changed the MTU", async () => {
  const configuration = conf({ isGateway: true, mtu: 1450 });
  const added = await bridge("ADD", configuration);
  const tuning = { cniVersion: configuration.cniVersion, name: "net", type: "tuning", mtu: 1400 };
  const tuned = await bed.call(OURS, "tuning", "ADD", { ...tuning, prevResult: added.json });
  expect(tuned).toMatchObject({ status: 0 });
  expect(await bridge("CHECK", withResult(configuration, tuned))).toMatchObject({ status: 0 });
});

describe("an existing bridge", () => {
  const macOf = async () =>
    (await bed.node.json<{ address: string }[]>("ip", ["-j", "link", "show", "cni0"]))[0]?.address;
  const told = ({ json }: Answer) => json.interfaces[0]?.mac;
  /**
   * Adds a port with a lower hardware address than any other. A bridge whose address is not set takes the lowest one.
   */
  const plugLowest = () =>
    bed.node.succeed("sh", [
      "-c",
      "ip link add low0 address 02:00:00:00:00:01 type veth peer name low1 && ip link set low0 master cni0 up",
    ]);

  beforeEach(async () => {
    await bed.node.succeed("sh", ["-c", "ip link add cni0 type bridge && ip link set cni0 up"]);
  });

  test("keeps the hardware address in the result when ports are added and removed", async () => {
    const configuration = conf({ isGateway: true });
    const added = await bridge("ADD", configuration);
    expect(told(added)).toBe(await macOf());
    expect(await bridge("CHECK", withResult(configuration, added))).toMatchObject({ status: 0 });
    await plugLowest();
    expect(await macOf()).toBe(told(added));
    expect(await bridge("CHECK", withResult(configuration, added))).toMatchObject({ status: 0 });
    await bridge("DEL", withResult(configuration, added));
    expect(await macOf()).toBe(told(added));
  });

  test("has the hardware address that all of many concurrent ADDs report", async () => {
    const configuration = conf({ isGateway: true });
    const pods = await bed.emptyPods(12);
    const options = pods.map(({ path }, at) => ({ containerId: `m${at}`, netns: path }));
    const added = await Promise.all(options.map((option) => bridge("ADD", configuration, option)));
    const mac = await macOf();
    expect(added.map(told)).toEqual(options.map(() => mac));
    for (const [at, option] of options.entries())
      expect(await bridge("CHECK", withResult(configuration, added[at] as Answer), option)).toMatchObject({
        status: 0,
      });
  });

  test("without a gateway has its ports' lowest hardware address: the result has the current one, and CHECK does not compare it", async () => {
    const configuration = conf({ isGateway: false });
    const added = await bridge("ADD", configuration);
    expect(told(added)).toBe(await macOf());
    await plugLowest();
    expect(await macOf()).toBe("02:00:00:00:00:01");
    expect(await bridge("CHECK", withResult(configuration, added))).toMatchObject({ status: 0 });
  });
});

describe("many concurrent calls", () => {
  const configuration = conf({ isDefaultGateway: true, ipMasq: true });
  const COUNT = 24;

  test("give each pod its own address on one bridge, and DELs release all", async () => {
    const pods = await bed.emptyPods(COUNT);
    const options = pods.map(({ path }, at) => ({ containerId: `m${at}`, netns: path }));
    const added = await Promise.all(options.map((option) => bridge("ADD", configuration, option)));
    expect(added.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(COUNT).fill(0));
    expect(new Set(added.map(({ json }) => json.ips[0].address)).size).toBe(COUNT);
    const ports = await bed.node.json<{ master?: string }[]>("bridge", ["-j", "link", "show"]);
    expect(ports.filter(({ master }) => master === "cni0")).toHaveLength(COUNT);
    const deleted = await Promise.all(options.map((option) => bridge("DEL", configuration, option)));
    expect(deleted.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(COUNT).fill(0));
    expect(await bed.reservations()).toBe("");
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toContain("10.22.0.");
  });

  test("of weft and the reference share one range, and no address is assigned twice", async () => {
    const plain = conf({ isDefaultGateway: true });
    const pods = await bed.emptyPods(COUNT);
    const calls = pods.map(
      ({ path }, at) => [at % 2 === 0 ? OURS : REFERENCE, { containerId: `m${at}`, netns: path }] as const,
    );
    const added = await Promise.all(calls.map(([bin, option]) => bed.call(bin, "bridge", "ADD", plain, option)));
    expect(added.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(COUNT).fill(0));
    expect(new Set(added.map(({ json }) => json.ips[0].address)).size).toBe(COUNT);
    for (const [bin, option] of calls) await bed.call(bin === OURS ? REFERENCE : OURS, "bridge", "DEL", plain, option);
    expect(await bed.reservations()).toBe("");
  });
});

test("a pod in two networks has a default route in each, as with the reference", async () => {
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];
  const networks = ["eth0", "eth1"].map((ifName, at) => ({
    ifName,
    network: conf({
      ...{ name: `net${at}`, bridge: `cni${at}`, isGateway: true },
      ipam: { type: "host-local", routes, ranges: [[{ subnet: `10.2${at}.0.0/24` }], [{ subnet: `fd00:${at}::/64` }]] },
    }),
  }));
  const seen = [];
  for (const bin of [REFERENCE, OURS]) {
    const added: Answer[] = [];
    for (const { ifName, network } of networks) {
      added.push(await bed.call(bin, "bridge", "ADD", network, { ifName }));
      expect(added.at(-1)).toMatchObject({ status: 0 });
    }
    seen.push([
      await bed.pod.succeed("ip", ["-4", "route", "show", "default"]),
      await bed.pod.succeed("ip", ["-6", "route", "show", "default"]),
    ]);
    for (const [at, { ifName, network }] of networks.entries()) {
      const call = withResult(network, added[at] as Answer);
      if (bin === OURS) expect(await bridge("CHECK", call, { ifName })).toMatchObject({ status: 0 });
    }
    for (const { ifName, network } of networks)
      expect(await bed.call(bin, "bridge", "DEL", network, { ifName })).toMatchObject({ status: 0 });
  }
  expect(seen[1]).toEqual(seen[0]);
});

test("GC removes what no valid attachment owns, and nothing of another network", async () => {
  const other = await bed.anotherPod("other");
  const foreign = await bed.anotherPod("foreign");
  await bridge("ADD", conf({ ipMasq: true, isGateway: true }));
  await bridge("ADD", conf({ ipMasq: true, isGateway: true }), { containerId: "c2", netns: other.namespace.path });
  await bridge(
    "ADD",
    {
      ...conf({ ipMasq: true, isGateway: true }),
      name: "net2",
      bridge: "cni1",
      ipam: { type: "host-local", ranges: [[{ subnet: "10.24.0.0/24" }]] },
    },
    { containerId: "c3", netns: foreign.namespace.path },
  );
  const answer = await bridge("GC", {
    ...conf(),
    "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }],
  });
  expect(answer).toMatchObject({ status: 0 });
  const aliases = (await bed.node.json<{ ifalias?: string }[]>("ip", ["-j", "link", "show"])).flatMap(
    ({ ifalias }) => ifalias ?? [],
  );
  expect(aliases.sort()).toEqual(["cni:net/c2/eth0", "cni:net2/c3/eth0"]);
  expect(await bed.reservations()).not.toContain("c1");
  const rules = await bed.node.succeed("nft", ["list", "ruleset"]);
  expect([rules.includes("10.22.0.2"), rules.includes("10.22.0.3"), rules.includes("10.24.0.2")]).toEqual([
    false,
    true,
    true,
  ]);
});

test("STATUS succeeds while addresses are available, and returns code 50 if the IPAM plugin is missing", async () => {
  expect(await bridge("STATUS", conf())).toMatchObject({ status: 0, output: "" });
  expect(await bridge("STATUS", conf({ ipam: { type: "nobody" } }))).toMatchObject({ status: 1, json: { code: 50 } });
});
