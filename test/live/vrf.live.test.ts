/** `vrf` compared with the reference on a veth in a pod, read back with iproute2 and tested with traffic. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

type Json = Record<string, unknown>;

const canVrf = kernelCan("VRFs", "ip link add probe0 type vrf table 5");

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

const conf = (more: object = {}, cniVersion = "1.1.0") => ({
  ...{ cniVersion, name: "apart", type: "vrf", vrfname: "blue" },
  prevResult: {
    cniVersion,
    interfaces: [{ name: "veth0" }, { name: "eth0", sandbox: bed.podNamespace.path }],
    ips: [
      { address: "10.9.0.2/24", gateway: "10.9.0.1", interface: 1 },
      { address: "fd00:9::2/64", gateway: "fd00:9::1", interface: 1 },
    ].map((ip) => (cniVersion < "1" ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : ip)),
    routes: [{ dst: "0.0.0.0/0", gw: "10.9.0.1" }],
  },
  ...more,
});
const vrf = (verb: string, input: unknown = conf(), more: object = {}, bin = OURS) =>
  bed.call(bin, "vrf", verb, input, more);

const inPod = (...args: string[]) => bed.pod.succeed("ip", args);

describeWhere(!canVrf)("a kernel without VRFs", () => {
  test("fails ADD and STATUS with the reason, and DEL succeeds without work", async () => {
    await inPod("link", "add", "eth0", "type", "veth", "peer", "name", "far0");
    const lack = { status: 1, json: { msg: expect.stringContaining("this kernel does not support vrf devices") } };
    expect(await vrf("ADD")).toMatchObject(lack);
    expect(await vrf("STATUS")).toMatchObject({ status: 1, json: { ...lack.json, code: 50 } });
    expect(await vrf("DEL")).toMatchObject({ status: 0, output: "" });
    await inPod("link", "del", "eth0");
  });
});

test.each([
  ["no VRF name", { vrfname: undefined }, "vrfname"],
  ["an invalid device name", { vrfname: "much-too-long-a-name" }, "vrfname"],
  ["an invalid table", { table: -1 }, "table"],
  ["no prevResult", { prevResult: undefined }, "prevResult"],
])("rejects %s", async (_name, more, key) => {
  expect(await vrf("ADD", conf(more))).toMatchObject({
    status: 1,
    json: { code: 7, msg: expect.stringContaining(key) },
  });
});

test("rejects a missing interface", async () => {
  expect(await vrf("ADD", conf(), { ifName: "eth7" })).toMatchObject({
    status: 1,
    json: { code: 4, msg: expect.stringContaining("eth7") },
  });
});

test.each(["", "/run/netns/weft-test-nobody"])("DEL in the namespace %j succeeds without work", async (netns) => {
  expect(await vrf("DEL", conf(), { netns })).toEqual({ status: 0, output: "", json: undefined });
});

describeWhere(canVrf)("with VRFs", () => {
  beforeEach(async () => {
    const peer = ["peer", "name", "eth0", "address", "c2:00:00:00:00:99", "netns", bed.podNamespace.name];
    await bed.node.succeed("ip", ["link", "add", "veth0", "type", "veth", ...peer]);
    await bed.node.succeed("ip", ["address", "add", "10.9.0.1/24", "dev", "veth0"]);
    await bed.node.succeed("ip", ["address", "add", "fd00:9::1/64", "dev", "veth0", "nodad"]);
    await bed.node.succeed("ip", ["link", "set", "veth0", "up"]);
    await inPod("address", "add", "10.9.0.2/24", "dev", "eth0");
    await inPod("address", "add", "fd00:9::2/64", "dev", "eth0", "nodad");
    await inPod("link", "set", "eth0", "up");
    await inPod("route", "add", "default", "via", "10.9.0.1");
    await inPod("route", "add", "fd77::/64", "via", "fd00:9::1");
  });
  afterEach(async () => {
    await bed.node.succeed("ip", ["link", "del", "veth0"]);
    expect(await vrfs()).toEqual([]);
  });

  const vrfs = () => bed.pod.json<Json[]>("ip", ["-j", "-d", "link", "show", "type", "vrf"]);
  const master = async () => (await bed.pod.json<Json[]>("ip", ["-j", "link", "show", "eth0"]))[0]?.master;
  const addresses = async () => {
    const [link] = await bed.pod.json<{ addr_info: Json[] }[]>("ip", ["-j", "address", "show", "eth0"]);
    const global = link?.addr_info.filter(({ scope }) => scope === "global") ?? [];
    return global.map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort();
  };
  /** Without the routes that the kernel makes for addresses. */
  const routes = async (table: string) => {
    const of = (family: string) => bed.pod.json<Json[]>("ip", [family, "-j", "route", "show", "table", table]);
    const found = [...(await of("-4").catch(() => [])), ...(await of("-6").catch(() => []))];
    return found.filter(({ protocol, gateway }) => protocol !== "kernel" && gateway).map(({ dst }) => dst);
  };
  const OWN = ["10.9.0.2/24", "fd00:9::2/64"];

  test.each([
    ["1.1.0", {}],
    ["1.0.0", {}],
    ["0.4.0", { table: 1234 }],
    ["0.3.1", {}],
  ])("in CNI %s with %j the result equals the reference's", async (cniVersion, more) => {
    const input = conf(more, cniVersion);
    const observe = async (bin: string) => {
      const { status, json } = await vrf("ADD", input, {}, bin);
      const [device] = await vrfs();
      const { ifname, flags, linkinfo } = device ?? {};
      const seen = { ifname, flags, linkinfo, master: await master(), addresses: await addresses() };
      const deleted = await vrf("DEL", input, {}, bin);
      return { status, json: { ...json, dns: undefined }, seen, deleted: deleted.status, left: await vrfs() };
    };
    const ours = await observe(OURS);
    expect(ours.seen).toMatchObject({ master: "blue", addresses: OWN });
    await inPod("address", "replace", "fd00:9::2/64", "dev", "eth0", "nodad");
    expect(await observe(REFERENCE)).toEqual(ours);
  });

  test("addresses and routes are kept, and traffic within the VRF flows", async () => {
    const added = await vrf("ADD", conf({ table: 77 }));
    expect(added).toMatchObject({
      status: 0,
      json: { ips: [{ address: "10.9.0.2/24" }, { address: "fd00:9::2/64" }] },
    });
    // The reference loses these.
    expect(await routes("77")).toEqual(["default", "fd77::/64"]);
    expect(await routes("main")).toEqual([]);
    for (const to of ["10.9.0.1", "fd00:9::1"]) {
      expect(await bed.pod.run("ping", ["-n", "-c", "1", "-W", "5", "-I", "blue", to])).toMatchObject({ status: 0 });
    }
    expect(await vrf("CHECK", conf({ table: 77 }))).toMatchObject({ status: 0, output: "" });
    expect(await vrf("DEL", conf({ table: 77 }))).toMatchObject({ status: 0, output: "" });
    expect(await master()).toBeUndefined();
    expect(await vrf("DEL")).toMatchObject({ status: 0, output: "" });
  });

  test("two interfaces share a VRF, which is removed with the last; another VRF gets another table", async () => {
    await inPod("link", "add", "net1", "type", "veth", "peer", "name", "far1");
    await inPod("link", "add", "net2", "type", "veth", "peer", "name", "far2");
    for (const [ifName, vrfname] of [
      ["eth0", "blue"],
      ["net1", "blue"],
      ["net2", "red"],
    ] as const) {
      expect(await vrf("ADD", conf({ vrfname }), { ifName })).toMatchObject({ status: 0 });
    }
    const tables = (await vrfs()).map(({ linkinfo }) => (linkinfo as { info_data: Json }).info_data.table);
    expect(new Set(tables).size).toBe(2);
    await vrf("DEL", conf({ vrfname: "red" }), { ifName: "net2" });
    await vrf("DEL", conf({ prevResult: undefined }));
    expect(await vrfs()).toMatchObject([{ ifname: "blue" }]);
    // The interface was removed before its DEL.
    await inPod("link", "del", "net1");
    expect(await vrf("DEL", conf(), { ifName: "net1" })).toMatchObject({ status: 0, output: "" });
    await inPod("link", "del", "net2");
  });

  test("CHECK detects an interface outside its VRF, a VRF that is down, and a missing VRF", async () => {
    await vrf("ADD");
    const finds = async (text: string) =>
      expect(await vrf("CHECK")).toMatchObject({ status: 1, json: { msg: expect.stringContaining(text) } });
    expect(await vrf("CHECK")).toMatchObject({ status: 0, output: "" });
    await inPod("link", "set", "blue", "down");
    await finds("down");
    await inPod("link", "set", "blue", "up");
    await inPod("link", "set", "eth0", "nomaster");
    await finds("not in blue");
    await inPod("link", "del", "blue");
    await finds("missing");
  });

  test("a failed ADD changes nothing", async () => {
    await inPod("link", "add", "green", "type", "vrf", "table", "9");
    await inPod("link", "add", "br0", "type", "bridge");
    const state = async () => [await vrfs(), await master(), await addresses(), await routes("main")];
    const before = await state();
    const refused = async (more: object, text: string) => {
      const answer = await vrf("ADD", conf(more));
      expect(answer).toMatchObject({ status: 1, json: { code: 7, msg: expect.stringContaining(text) } });
      expect(await state()).toEqual(before);
    };
    await refused({ vrfname: "green", table: 8 }, "table 9");
    await refused({ vrfname: "br0" }, "no VRF but bridge");
    await inPod("link", "set", "eth0", "master", "br0");
    expect(await vrf("ADD")).toMatchObject({ status: 1, json: { code: 7, msg: expect.stringContaining("br0") } });
    for (const device of ["br0", "green"]) await inPod("link", "del", device);
  });

  test("STATUS succeeds", async () => {
    expect(await vrf("STATUS")).toMatchObject({ status: 0, output: "" });
  });
});
