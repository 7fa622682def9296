/** `tuning` on a veth in a pod, read back with iproute2 and from /proc/sys. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

type Json = Record<string, unknown>;

const DATA_DIRECTORY = "/var/lib/cni/tuning";
const BACKUP = `${DATA_DIRECTORY}/c1_eth0.json`;
const MAC = "c2:11:22:33:44:55";
const RMEM = "net.ipv4.tcp_rmem";
const ALL = {
  ...{ mac: MAC, mtu: 1454, promisc: true, allmulti: true, txQLen: 777 },
  sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1", [RMEM]: "4096 5000 6000" },
};

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

beforeEach(async () => {
  const far = ["name", "eth0", "address", "c2:00:00:00:00:99", "netns", bed.podNamespace.name];
  await bed.node.succeed("ip", ["link", "add", "veth0", "type", "veth", "peer", ...far]);
  await bed.pod.succeed("ip", ["link", "set", "eth0", "up"]);
  await bed.pod.succeed("sysctl", ["-qw", `${RMEM}=4096 131072 6291456`]);
});
afterEach(async () => {
  await bed.node.succeed("ip", ["link", "del", "veth0"]);
  expect(await bed.node.run("ls", ["-A", DATA_DIRECTORY])).toMatchObject({ stdout: "" });
});

const conf = (more: object = ALL, cniVersion = "1.1.0") => ({
  ...{ cniVersion, name: "tuned", type: "tuning", dataDir: DATA_DIRECTORY },
  prevResult: {
    cniVersion,
    interfaces: [{ name: "veth0" }, { name: "eth0", mac: "c2:00:00:00:00:99", sandbox: bed.podNamespace.path }],
  },
  ...more,
});
const tuning = (verb: string, input: unknown = conf(), more: object = {}, bin = OURS) =>
  bed.call(bin, "tuning", verb, input, more);

async function eth0(): Promise<Json> {
  const [link] = await bed.pod.json<Json[]>("ip", ["-j", "-d", "link", "show", "eth0"]);
  const { flags, mtu, address, txqlen, promiscuity, allmulti } = link ?? {};
  return { flags, mtu, address, txqlen, promiscuity, allmulti };
}
const setting = async (name: string) =>
  (await bed.pod.succeed("cat", [`/proc/sys/${name.replaceAll(".", "/")}`])).trim();
const pod = async () => ({
  eth0: await eth0(),
  settings: [await setting("net.ipv4.conf.eth0.arp_filter"), await setting(RMEM)],
});

async function kept(): Promise<unknown> {
  const { status, stdout } = await bed.node.run("cat", [BACKUP]);
  if (status !== 0) return undefined;
  // `owner` is weft's addition, for GC.
  const { owner: _, ...attributes } = JSON.parse(stdout) as Json;
  return attributes;
}

test.each([
  ["weft", OURS, "the reference", REFERENCE],
  ["the reference", REFERENCE, "weft", OURS],
])("changes made by %s are undone by %s", async (_first, adds, _second, deletes) => {
  const before = await eth0();
  expect(await tuning("ADD", conf(), {}, adds)).toMatchObject({ status: 0 });
  expect(await eth0()).toMatchObject({ mtu: 1454, address: MAC, txqlen: 777, promiscuity: 1, allmulti: 1 });
  expect(await tuning("DEL", conf(), {}, deletes)).toMatchObject({ status: 0, output: "" });
  expect(await eth0()).toEqual(before);
});

test("with two entries in one chain, the first DEL restores the state before both", async () => {
  const before = await eth0();
  await tuning("ADD", conf({ mac: MAC }));
  await tuning("ADD", conf({ mtu: 1400, mac: "c2:00:00:00:00:42" }));
  expect(await eth0()).toMatchObject({ mtu: 1400, address: "c2:00:00:00:00:42" });
  expect(await tuning("DEL", conf({ mtu: 1400 }))).toMatchObject({ status: 0 });
  expect(await eth0()).toEqual(before);
  expect(await tuning("DEL", conf({ mac: MAC }))).toMatchObject({ status: 0 });
  expect(await eth0()).toEqual(before);
});

test("args.cni sets kernel settings if the configuration sets none", async () => {
  const args = { cni: { sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" } } };
  expect(await tuning("ADD", conf({ args }))).toMatchObject({ status: 0 });
  expect(await setting("net.ipv4.conf.eth0.arp_filter")).toBe("1");
});

test("a write-only setting is written, and CHECK skips it", async () => {
  const input = conf({ sysctl: { "net.ipv4.route.flush": "1" } });
  expect(await tuning("ADD", input)).toMatchObject({ status: 0 });
  expect(await tuning("CHECK", input)).toMatchObject({ status: 0, output: "" });
});

describe("CHECK detects", () => {
  const link = (...args: string[]) => ["ip", "link", "set", "eth0", ...args];
  test.each([
    ["another hardware address", link("address", "c2:00:00:00:00:77"), /hardware address .* c2:00:00:00:00:77/],
    ["another MTU", link("mtu", "1300"), /MTU .* 1300: expected 1454/],
    ["promiscuous mode off", link("promisc", "off"), /promiscuous mode/],
    ["all-multicast mode off", link("allmulticast", "off"), /all-multicast mode/],
    ["another queue", link("txqueuelen", "5"), /queue length .* 5: expected 777/],
    ["one changed number among several", ["sysctl", "-qw", `${RMEM}=4096 5000 6001`], /tcp_rmem/],
    ["another setting of the interface", ["sysctl", "-qw", "net.ipv4.conf.eth0.arp_filter=0"], /IFNAME.arp_filter/],
  ])("%s", async (_name, [file = "", ...args], message) => {
    await tuning("ADD");
    expect(await tuning("CHECK")).toMatchObject({ status: 0, output: "" });
    await bed.pod.succeed(file, args);
    expect(await tuning("CHECK")).toMatchObject({
      status: 1,
      json: { code: 999, msg: expect.stringMatching(message) },
    });
    await tuning("DEL");
  });

  test("no fault in attributes that another program enabled", async () => {
    await bed.pod.succeed("ip", ["link", "set", "eth0", "promisc", "on"]);
    expect(await tuning("CHECK", conf({ mtu: 1500 }))).toMatchObject({ status: 0, output: "" });
  });
});

describe("a failed ADD changes nothing", () => {
  const bad = (...keys: [string, string][]) => ({ ...ALL, sysctl: { ...ALL.sysctl, ...Object.fromEntries(keys) } });
  test.each([
    ["a setting that does not exist", bad(["net.ipv4.nothing", "1"]), {}, 7, "net.ipv4.nothing"],
    ["a value that the kernel rejects", bad(["net.ipv4.ip_default_ttl", "999"]), {}, 7, "net.ipv4.ip_default_ttl"],
    ["a setting outside the network settings", bad(["kernel.hostname", "x"]), {}, 7, "kernel.hostname"],
    ["a value that is not text", { sysctl: { [RMEM]: 5 } }, {}, 7, RMEM],
    ["an MTU below 68", { ...ALL, mtu: 5 }, {}, 7, "mtu"],
    ["an MTU that is not a number", { ...ALL, mtu: "x" }, {}, 7, "mtu"],
    ["a multicast address", { ...ALL, mac: "c3:00:00:00:00:02" }, {}, 7, "mac"],
    ["an invalid hardware address", { ...ALL, mac: "nope" }, {}, 7, "mac"],
    ["CNI_ARGS with an invalid hardware address", ALL, { args: "MAC=nope" }, 4, "MAC"],
    ["CNI_ARGS with strangers", ALL, { args: "KEY=x" }, 4, "KEY"],
    ["no prevResult", { ...ALL, prevResult: undefined }, {}, 7, "prevResult"],
    ["no interface", ALL, { ifName: "eth7" }, 4, "eth7"],
    ["a data directory that cannot be made", { ...ALL, dataDir: "/proc/nothing" }, {}, 5, "dataDir"],
  ])("%s", async (_name, more, options, code, text) => {
    const before = await pod();
    const expected = { status: 1, json: { code, msg: expect.stringContaining(text) } };
    expect(await tuning("ADD", conf(more), options)).toMatchObject(expected);
    expect(await pod()).toEqual(before);
  });

  test("an interface that accepts the hardware address and rejects the MTU", async () => {
    await bed.pod.succeed("ip", ["link", "add", "link", "eth0", "name", "net1", "type", "macvlan"]);
    const before = await bed.pod.succeed("ip", ["link", "show", "net1"]);
    const answer = await tuning("ADD", conf({ mtu: 1600, mac: MAC }), { ifName: "net1" });
    expect(answer).toMatchObject({
      status: 1,
      json: { msg: expect.stringMatching(/mtu 1600.* in \/run\/netns\/.*EINVAL/) },
    });
    expect(await bed.pod.succeed("ip", ["link", "show", "net1"])).toBe(before);
  });
});

describe("DEL", () => {
  test.each([
    ["without prevResult", { prevResult: undefined }, {}],
    ["with invalid attributes", { mac: 7, mtu: "x", sysctl: [] }, {}],
    ["without a namespace", {}, { netns: "" }],
    ["of a namespace that is gone", {}, { netns: "/run/netns/weft-test-nobody" }],
  ])("%s leaves no file, and succeeds again", async (_name, change, options) => {
    await tuning("ADD");
    expect(await kept()).toBeDefined();
    expect(await tuning("DEL", conf(change), options)).toEqual({ status: 0, output: "", json: undefined });
    expect(await kept()).toBeUndefined();
    expect(await tuning("DEL", conf(change), options)).toMatchObject({ status: 0, output: "" });
  });

  test("of a removed interface leaves no file", async () => {
    await tuning("ADD");
    await bed.pod.succeed("ip", ["link", "set", "eth0", "down"]);
    await bed.pod.succeed("ip", ["link", "set", "eth0", "name", "eth9"]);
    expect(await tuning("DEL")).toMatchObject({ status: 0, output: "" });
    expect(await kept()).toBeUndefined();
  });

  test.each(["{", "", '{"mtu":"x"}'])("with a file that contains %j succeeds and leaves none", async (text) => {
    await bed.node.succeed("sh", ["-c", `mkdir -p ${DATA_DIRECTORY} && printf '%s' '${text}' >${BACKUP}`]);
    expect(await tuning("DEL")).toMatchObject({ status: 0, output: "" });
    expect(await kept()).toBeUndefined();
  });
});

test("the operator's list of allowed settings is enforced", async () => {
  // The plugin sees a private /etc, so that the machine's is not touched.
  const LISTED = "/var/lib/cni/listed";
  const script = [
    "#!/bin/sh",
    `exec unshare -m sh -c "mount -t tmpfs tmpfs /etc && mkdir -p /etc/cni/tuning && ` +
      `echo '^net[.]ipv4[.]conf[.]IFNAME[.]' >/etc/cni/tuning/allowlist.conf && exec ${OURS}/tuning"`,
  ].join("\n");
  await bed.node.run("sh", ["-c", `mkdir -p ${LISTED} && cat >${LISTED}/tuning && chmod +x ${LISTED}/tuning`], script);
  const add = (sysctl: object) => tuning("ADD", conf({ sysctl }), {}, LISTED);
  expect(await add({ "net.ipv4.conf.IFNAME.arp_filter": "1" })).toMatchObject({ status: 0 });
  expect(await add({ "net.ipv4.conf.IFNAME.arp_filter": "0", [RMEM]: "1 2 3" })).toMatchObject({
    status: 1,
    json: { code: 7, msg: expect.stringContaining(`"${RMEM}" is not allowed`) },
  });
  expect(await setting("net.ipv4.conf.eth0.arp_filter")).toBe("1");
});

test("GC removes saved state of this network's invalid attachments only", async () => {
  const gc = (valid: object[], name: string) => tuning("GC", { ...conf(), name, "cni.dev/valid-attachments": valid });
  await tuning("ADD");
  await bed.node.succeed("sh", ["-c", `echo '{"mtu":1500}' >${DATA_DIRECTORY}/c9_eth0.json`]);
  expect(await gc([{ containerID: "c1", ifname: "eth0" }], "tuned")).toMatchObject({ status: 0, output: "" });
  expect(await gc([], "another")).toMatchObject({ status: 0, output: "" });
  expect(await kept()).toBeDefined();
  expect(await gc([], "tuned")).toMatchObject({ status: 0, output: "" });
  expect(await bed.node.succeed("ls", ["-A", DATA_DIRECTORY])).toBe("c9_eth0.json\n");
  await bed.node.succeed("rm", [`${DATA_DIRECTORY}/c9_eth0.json`]);
});

test("STATUS succeeds, and returns code 50 if no attribute could be saved", async () => {
  expect(await tuning("STATUS")).toMatchObject({ status: 0, output: "" });
  expect(await tuning("STATUS", conf({ mtu: 1400, dataDir: "/proc/nothing" }))).toMatchObject({
    status: 1,
    json: { code: 50, msg: expect.stringContaining("/proc/nothing") },
  });
  expect(await tuning("STATUS", conf({ dataDir: "/proc/nothing" }))).toMatchObject({ status: 0, output: "" });
});
