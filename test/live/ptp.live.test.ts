/** ptp on a real kernel: compared with the reference plugin, and tested by what pods can do. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import { type CallOptions, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
const DUAL = {
  type: "host-local",
  ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
};
const conf = (more: object = {}) => ({ cniVersion: "1.1.0", name: "net", type: "ptp", ipam: IPAM, ...more });

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const ptp = (verb: string, input: unknown, options: CallOptions = {}) => bed.call(OURS, "ptp", verb, input, options);

/** Hardware addresses and random names differ from call to call. */
function normalised(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner) =>
      key === "output" || (key === "dns" && Object.keys(inner).length === 0) ? undefined : inner,
    )
      .replace(/"([0-9a-f]{2}:){5}[0-9a-f]{2}"/g, '"MAC"')
      .replace(/veth[0-9a-f]{8}/g, "vethX")
      .replace(/\/run\/netns\/[^"]*/g, "NETNS"),
  );
}

describe("results and kernel state equal the reference's", () => {
  const CONFIGURATIONS: Record<string, object> = {
    plain: {},
    "an MTU": { mtu: 1400 },
    "both families": { ipam: DUAL },
    "IPv6 only": { ipam: { type: "host-local", ranges: [[{ subnet: "fd00:22::/64" }]] } },
    routes: {
      ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16" }, { dst: "10.98.0.0/16", gw: "10.22.0.1" }] },
    },
    "DNS in the configuration": { dns: { nameservers: ["10.22.0.1"], search: ["a.test"] } },
  };

  interface Addresses {
    readonly ifname: string;
    readonly mtu: number;
    readonly flags: string[];
    readonly addr_info: { local: string; prefixlen: number; scope: string; broadcast?: string }[];
  }

  async function addresses(inside: Inside) {
    const links = await inside.json<Addresses[]>("ip", ["-j", "address", "show"]);
    return links.map(({ ifname, mtu, flags, addr_info }) => ({
      ...{ ifname, mtu, up: flags.includes("UP") },
      held: addr_info
        .filter(({ scope }) => scope === "global")
        .map(({ local, prefixlen, broadcast }) => [local, prefixlen, broadcast]),
    }));
  }

  /** Link-local routes appear at any time. Routes with equal destinations are in order of creation. */
  async function routes(inside: Inside) {
    const all = [
      ...(await inside.json<{ dst: string }[]>("ip", ["-j", "route", "show"])),
      ...(await inside.json<{ dst: string }[]>("ip", ["-j", "-6", "route", "show"])),
    ];
    return all
      .filter(({ dst }) => !dst.startsWith("fe80"))
      .map((route) => JSON.stringify(route))
      .sort();
  }

  async function observe(bin: string, configuration: object) {
    const own = await PluginBed.make();
    try {
      const added = await own.call(bin, "ptp", "ADD", configuration);
      const state = {
        added,
        node: [await addresses(own.node), await routes(own.node)],
        pod: [await addresses(own.pod), await routes(own.pod)],
        forwarding: await own.node.succeed("cat", [
          ...["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"],
        ]),
        deleted: await own.call(bin, "ptp", "DEL", { ...configuration, prevResult: added.json }),
        left: [await addresses(own.node), await own.reservations()],
      };
      return normalised(state);
    } finally {
      await own.close();
    }
  }

  test.each(Object.entries(CONFIGURATIONS))("%s", async (_name, more) => {
    expect(await observe(OURS, conf(more))).toEqual(await observe(REFERENCE, conf(more)));
  });

  test("weft and the reference delete each other's attachments", async () => {
    for (const [adder, deleter] of [
      [OURS, REFERENCE],
      [REFERENCE, OURS],
    ] as const) {
      const added = await bed.call(adder, "ptp", "ADD", conf());
      expect(added.status).toBe(0);
      const remembered = { ...conf(), prevResult: added.json };
      expect(await ptp("CHECK", remembered)).toMatchObject({ status: 0 });
      expect(await bed.call(deleter, "ptp", "DEL", remembered)).toMatchObject({ status: 0 });
      expect(await bed.reservations()).toBe("");
      expect(await bed.node.json("ip", ["-j", "link", "show"])).toHaveLength(1);
    }
  });
});

interface Attached {
  readonly inside: Inside;
  readonly options: CallOptions;
  readonly configuration: object;
  readonly addresses: readonly string[];
  readonly port: string;
}

async function attach(label: string, more: object = {}): Promise<Attached> {
  const { namespace, inside } = await bed.anotherPod(label);
  const options = { containerId: label, netns: namespace.path };
  const configuration = conf(more);
  const { status, json } = await ptp("ADD", configuration, options);
  expect(status === 0 ? 0 : json).toBe(0);
  return {
    ...{ inside, options, configuration: { ...configuration, prevResult: json }, port: json.interfaces[0].name },
    addresses: json.ips.map(({ address }: { address: string }) => address.split("/")[0]),
  };
}

test("pods reach their gateway and each other by IPv4 and IPv6 as soon as ADD returns", async () => {
  const [first, second] = [await attach("a", { ipam: DUAL }), await attach("b", { ipam: DUAL })];
  for (const address of ["10.22.0.1", "fd00:22::1", ...second.addresses]) {
    expect(await first.inside.pings(address), address).toBe(true);
  }
  for (const address of first.addresses) expect(await bed.node.pings(address), address).toBe(true);
  await second.inside.listen(7001);
  expect(await first.inside.seenBy(second.addresses[0] ?? "", 7001)).toBe(first.addresses[0]);
});

test("pods leave the node with its address under ipMasq, and with their own without", async () => {
  const outside = await bed.anotherPod("outside");
  const { name } = outside.namespace;
  await bed.node.succeed("ip", ["link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", name]);
  await bed.node.succeed("sh", [
    "-c",
    "ip address add 198.51.100.1/24 dev up0; ip address add 2001:db8:1::1/64 dev up0 nodad; ip link set up0 up",
  ]);
  await outside.inside.succeed("sh", [
    "-c",
    "ip address add 198.51.100.2/24 dev eth0; ip address add 2001:db8:1::2/64 dev eth0 nodad; ip link set eth0 up; " +
      "ip route add 10.22.0.0/24 via 198.51.100.1; ip route add fd00:22::/64 via 2001:db8:1::1",
  ]);
  await outside.inside.listen(7001);
  const [masked, open] = [await attach("a", { ipMasq: true, ipam: DUAL }), await attach("b", { ipam: DUAL })];
  expect(await masked.inside.seenBy("198.51.100.2", 7001)).toBe("198.51.100.1");
  expect(await masked.inside.seenBy("2001:db8:1::2", 7001)).toBe("2001:db8:1::1");
  expect(await open.inside.seenBy("198.51.100.2", 7001)).toBe(open.addresses[0]);
  await open.inside.listen(7002);
  expect(await masked.inside.seenBy(open.addresses[0] ?? "", 7002)).toBe(masked.addresses[0]);
  expect(await bed.node.succeed("nft", ["list", "ruleset"])).toContain("cni:net/a/eth0");
  expect(await ptp("DEL", masked.configuration, masked.options)).toMatchObject({ status: 0 });
  expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toContain("cni:net/a/eth0");
});

test("a single address with a gateway outside its subnet works", async () => {
  const addresses = [{ address: "10.22.0.7/32", gateway: "169.254.1.1" }];
  const pod = await attach("a", { ipam: { type: "static", addresses, routes: [{ dst: "0.0.0.0/0" }] } });
  expect(await pod.inside.pings("169.254.1.1")).toBe(true);
  expect(await bed.node.pings("10.22.0.7")).toBe(true);
  expect(await ptp("CHECK", pod.configuration, pod.options)).toMatchObject({ status: 0 });
});

describe("CHECK", () => {
  const HOST_END = "$(ip -o link | grep -o 'veth[0-9a-f]*' | head -n 1)";
  test.each([
    ["nothing", "node", "true", 0],
    ["the pod's interface", "pod", "ip link del eth0", 1],
    ["the pod's address", "pod", "ip address del 10.22.0.2/24 dev eth0", 1],
    ["the pod's MTU", "pod", "ip link set eth0 mtu 1300", 0],
    ["the pod's route to its gateway", "pod", "ip route del 10.22.0.0/24; ip route del 10.22.0.1", 1],
    ["the pod's route to its subnet", "pod", "ip route del 10.22.0.0/24", 1],
    ["the default route", "pod", "ip route del default", 1],
    ["the IPv6 default route", "pod", "ip -6 route del default", 1],
    ["the state of the host's end", "node", `ip link set ${HOST_END} down`, 1],
    ["the gateway's address on the host", "node", `ip address del 10.22.0.1/32 dev ${HOST_END}`, 1],
    ["the host's route", "node", "ip route del 10.22.0.2", 1],
    ["the host's IPv6 route", "node", "ip -6 route del fd00:22::2", 1],
    [
      "the link of the host's route",
      "node",
      "ip route del 10.22.0.2; ip link add other type veth peer name rehto; ip link set other up; ip link set rehto up; ip route add 10.22.0.2 dev other",
      1,
    ],
    ["the reservation", "node", "rm /var/lib/cni/networks/net/10.22.0.2", 1],
    ["an unrelated route", "pod", "ip route add 10.97.0.0/16 via 10.22.0.1", 0],
  ] as const)("returns the right status with %s changed", async (_name, where, command, status) => {
    const configuration = conf({ mtu: 1400, ipam: DUAL });
    const added = await ptp("ADD", configuration);
    await bed[where].succeed("sh", ["-c", command]);
    expect(await ptp("CHECK", { ...configuration, prevResult: added.json })).toMatchObject({ status });
  });
});

describe("DEL", () => {
  test("succeeds twice without output", async () => {
    await ptp("ADD", conf());
    for (let turn = 1; turn <= 2; turn++)
      expect(await ptp("DEL", conf())).toEqual({ status: 0, output: "", json: undefined });
  });

  test.each([
    ["is empty", ""],
    ["is gone", "/run/netns/weft-test-nobody"],
  ])("releases the address and the host's end if CNI_NETNS %s", async (_name, netns) => {
    await ptp("ADD", conf({ ipMasq: true }));
    expect(await ptp("DEL", conf({ ipMasq: true }), { netns })).toMatchObject({ status: 0 });
    expect(await bed.reservations()).toBe("");
    expect(await bed.node.json("ip", ["-j", "link", "show"])).toHaveLength(1);
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toContain("10.22.0.2");
    expect(await bed.node.json("ip", ["-j", "route", "show"])).toEqual([]);
  });
});

describe("a failed ADD changes nothing", () => {
  test.each([
    [
      "an impossible route",
      { ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] } },
      999,
      /ip route \w+ 10\.99/,
    ],
    ["no addresses at all", { ipam: {} }, 7, /^ipam: expected .* ptp needs/],
    ["a missing IPAM plugin", { ipam: { type: "nobody" } }, 7, /failed to find plugin "nobody"/],
    [
      "an address without a gateway",
      { ipam: { type: "static", addresses: [{ address: "10.22.0.7/24" }] } },
      7,
      /gateway/,
    ],
    ["masquerading with an unknown backend", { ipMasq: true, ipMasqBackend: "ebpf" }, 7, /^ipMasqBackend: .*"ebpf"/],
    ["another program's host route", {}, 999, /ip route add 10\.22\.0\.2\/32.*EEXIST/],
  ])("%s", async (_name, more, code, message) => {
    await bed.node.succeed("sh", [
      "-c",
      "sysctl -qw net.ipv4.ip_forward=1; ip link add other type veth peer name rehto; ip link set other up; ip link set rehto up; ip route add 10.22.0.2/32 dev other scope host",
    ]);
    const before = await bed.state();
    const answer = await ptp("ADD", conf(more));
    expect(answer).toMatchObject({ status: 1, json: { code, msg: expect.stringMatching(message) } });
    expect(await bed.state()).toEqual(before);
  });
});

test("GC removes what no valid attachment owns, and nothing of another network", async () => {
  await attach("a", { ipMasq: true });
  const kept = await attach("b", { ipMasq: true });
  const ipam = { type: "host-local", ranges: [[{ subnet: "10.24.0.0/24" }]] };
  const foreign = await attach("c", { name: "net2", ipMasq: true, ipam });
  const valid = { "cni.dev/valid-attachments": [{ containerID: "b", ifname: "eth0" }] };
  expect(await ptp("GC", { ...conf(), ...valid })).toMatchObject({ status: 0 });
  const aliases = (await bed.node.json<{ ifalias?: string }[]>("ip", ["-j", "link", "show"])).flatMap(
    ({ ifalias }) => ifalias ?? [],
  );
  expect(aliases.sort()).toEqual(["cni:net/b/eth0", "cni:net2/c/eth0"]);
  const rules = await bed.node.succeed("nft", ["list", "ruleset"]);
  expect([rules.includes("cni:net/a/"), rules.includes("cni:net/b/"), rules.includes("cni:net2/c/")]).toEqual([
    false,
    true,
    true,
  ]);
  expect(await bed.reservations()).not.toContain("10.22.0.2:");
  expect(await kept.inside.pings("10.22.0.1")).toBe(true);
  expect(await foreign.inside.pings("10.24.0.1")).toBe(true);
});

test("STATUS succeeds while addresses are available, and returns code 50 if the IPAM plugin is missing", async () => {
  expect(await ptp("STATUS", conf())).toMatchObject({ status: 0, output: "" });
  expect(await ptp("STATUS", conf({ ipam: { type: "nobody" } }))).toMatchObject({ status: 1, json: { code: 50 } });
});

test("many concurrent calls give each pod its own address and route, and DELs release all", async () => {
  const pods = await bed.emptyPods(16);
  const options = pods.map(({ path }, at) => ({ containerId: `m${at}`, netns: path }));
  const added = await Promise.all(options.map((option) => ptp("ADD", conf({ ipMasq: true }), option)));
  expect(added.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(16).fill(0));
  expect(await bed.node.json("ip", ["-j", "route", "show"])).toHaveLength(16);
  const deleted = await Promise.all(options.map((option) => ptp("DEL", conf({ ipMasq: true }), option)));
  expect(deleted.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(16).fill(0));
  expect(await bed.reservations()).toBe("");
  expect(await bed.node.json("ip", ["-j", "route", "show"])).toEqual([]);
});
