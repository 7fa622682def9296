/** `sbr` in a pod with two interfaces, read back with iproute2 and tested with traffic. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

type Json = Record<string, unknown>;

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

const inPod = (...args: string[]) => bed.pod.succeed("ip", args);

beforeEach(async () => {
  for (const [at, device] of [
    [0, "eth0"],
    [1, "net1"],
  ] as const) {
    const peer = ["peer", "name", device, "netns", bed.podNamespace.name];
    await bed.node.succeed("ip", ["link", "add", `veth${at}`, "type", "veth", ...peer]);
    await bed.node.succeed("ip", ["address", "add", `10.9.${at}.1/24`, "dev", `veth${at}`]);
    await bed.node.succeed("ip", ["address", "add", `fd00:9:${at}::1/64`, "dev", `veth${at}`, "nodad"]);
    await bed.node.succeed("ip", ["link", "set", `veth${at}`, "up"]);
    await inPod("address", "add", `10.9.${at}.2/24`, "dev", device);
    await inPod("address", "add", `fd00:9:${at}::2/64`, "dev", device, "nodad");
    await inPod("link", "set", device, "up");
  }
  await inPod("route", "add", "default", "via", "10.9.0.1");
  await inPod("route", "add", "10.77.0.0/16", "via", "10.9.1.1", "metric", "5", "mtu", "1300");
  await inPod("route", "add", "fd77::/64", "via", "fd00:9:1::1");
});
afterEach(async () => {
  for (const veth of ["veth0", "veth1"]) await bed.node.succeed("ip", ["link", "del", veth]);
  expect(await rules()).toHaveLength(5);
});

const conf = (more: object = {}, cniVersion = "1.1.0") => ({
  ...{ cniVersion, name: "by-source", type: "sbr" },
  prevResult: {
    cniVersion,
    interfaces: [{ name: "veth1" }, { name: "net1", sandbox: bed.podNamespace.path }],
    ips: [
      { address: "10.9.1.2/24", gateway: "10.9.1.1", interface: 1 },
      { address: "fd00:9:1::2/64", gateway: "fd00:9:1::1", interface: 1 },
    ].map((ip) => (cniVersion < "1" ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : ip)),
    routes: [{ dst: "10.77.0.0/16", gw: "10.9.1.1", mtu: 1300, priority: 5 }],
  },
  ...more,
});
const sbr = (verb: string, input: unknown = conf(), more: object = {}, bin = OURS) =>
  bed.call(bin, "sbr", verb, input, { ifName: "net1", ...more });

async function rules(): Promise<Json[]> {
  const of = (family: string) => bed.pod.json<Json[]>("ip", [family, "-j", "rule", "show"]);
  return [...(await of("-4")), ...(await of("-6"))];
}
async function routes(): Promise<Json[]> {
  const of = async (family: string) => {
    const found = await bed.pod.json<Json[]>("ip", [family, "-j", "-d", "route", "show", "table", "all"]);
    const all = found.filter(({ table }) => table !== "local");
    return all.map(({ table, ...route }) => ({ family, ...route, ...(table === "main" ? {} : { table }) }));
  };
  return [...(await of("-4")), ...(await of("-6"))];
}
const state = async () => ({ rules: await rules(), routes: await routes() });

/** The device that a packet from this address takes. */
const way = async (to: string, from: string) => {
  const [route] = await bed.pod.json<Json[]>("ip", ["-j", "route", "get", to, "from", from]);
  return route?.dev;
};

test("packets leave through the interface with their source address, and are answered", async () => {
  expect([await way("10.50.0.1", "10.9.1.2"), await way("fd50::1", "fd00:9:1::2").catch(() => "none")]).toEqual([
    "eth0",
    "none",
  ]);
  await sbr("ADD");
  expect([await way("10.50.0.1", "10.9.1.2"), await way("fd50::1", "fd00:9:1::2")]).toEqual(["net1", "net1"]);
  expect(await way("10.50.0.1", "10.9.0.2")).toBe("eth0");
  for (const [to, from] of [
    ["10.9.1.1", "10.9.1.2"],
    ["fd00:9:1::1", "fd00:9:1::2"],
    ["10.9.0.1", "10.9.1.2"],
  ] as const) {
    expect(await bed.pod.run("ping", ["-n", "-c", "1", "-W", "2", "-I", from, to])).toMatchObject({ status: 0 });
  }
  await sbr("DEL");
});

test("tables in use are skipped, including those with routes only", async () => {
  await inPod("rule", "add", "from", "192.0.2.7", "table", "100");
  await inPod("route", "add", "10.55.0.0/16", "dev", "eth0", "table", "101");
  await sbr("ADD");
  expect((await rules()).filter(({ src }) => src === "10.9.1.2")).toMatchObject([{ table: "102" }]);
  await sbr("DEL");
  expect(await inPod("route", "show", "table", "101")).toContain("10.55.0.0/16");
  await inPod("rule", "del", "from", "192.0.2.7", "table", "100");
});

test("supports gateways and source hints as in newer releases of the reference", async () => {
  await sbr("ADD", conf({ gateways: ["10.9.1.254", "fd00:9:1::fe"], addSourceHints: true }));
  const found = await routes();
  expect(
    found.filter(({ dst, dev, table }) => dst === "default" && dev === "net1" && table !== undefined),
  ).toMatchObject([
    { gateway: "10.9.1.254", table: "100" },
    { gateway: "fd00:9:1::fe", table: "101" },
  ]);
  expect(found.filter(({ dev, table }) => dev === "net1" && table === undefined)).toMatchObject([
    { dst: "10.9.1.0/24", prefsrc: "10.9.1.2" },
    { dst: "fd00:9:1::/64", prefsrc: "fd00:9:1::2" },
    { dst: "fe80::/64" },
  ]);
  await sbr("DEL", conf());
});

describe("CHECK detects", () => {
  test.each([
    ["a missing rule", {}, ["rule", "del", "from", "10.9.1.2"], /rule for packets from 10.9.1.2 .*missing/],
    ["a missing IPv6 rule", {}, ["-6", "rule", "del", "from", "fd00:9:1::2"], /rule for packets from fd00:9:1::2/],
    ["a missing default route", {}, ["route", "del", "default", "table", "100"], /default route for .*10.9.1.2/],
    [
      "a missing rule for a configured table",
      { table: 300 },
      ["rule", "del", "from", "10.9.1.2"],
      /rule for .*10.9.1.2/,
    ],
  ])("%s", async (_name, more, args, message) => {
    await sbr("ADD", conf(more));
    expect(await sbr("CHECK", conf(more))).toMatchObject({ status: 0, output: "" });
    await inPod(...args);
    expect(await sbr("CHECK", conf(more))).toMatchObject({ status: 1, json: { msg: expect.stringMatching(message) } });
    await sbr("DEL", conf(more));
  });
});

describe("DEL", () => {
  test.each([
    ["without prevResult", { prevResult: undefined }],
    ["with an invalid result", { prevResult: 7 }],
    ["with other invalid keys", { gateways: 7, addSourceHints: "x" }],
  ])("%s removes rules and their tables' routes, and succeeds again", async (_name, change) => {
    await sbr("ADD");
    expect(await rules()).toHaveLength(7);
    expect(await sbr("DEL", conf(change))).toEqual({ status: 0, output: "", json: undefined });
    expect(await rules()).toHaveLength(5);
    expect((await routes()).filter(({ table }) => table !== undefined)).toEqual([]);
    expect(await sbr("DEL", conf(change))).toMatchObject({ status: 0, output: "" });
  });

  test("of a removed interface removes the rules for its addresses", async () => {
    await sbr("ADD");
    await inPod("link", "set", "net1", "down");
    await inPod("link", "set", "net1", "name", "net9");
    expect(await sbr("DEL")).toMatchObject({ status: 0, output: "" });
    expect(await rules()).toHaveLength(5);
  });

  test("with a configured table keeps its routes and rules to other tables", async () => {
    await inPod("route", "add", "10.66.0.0/16", "dev", "net1", "table", "300");
    await inPod("rule", "add", "from", "10.9.1.2", "table", "400");
    await sbr("ADD", conf({ table: 300 }));
    expect(await sbr("DEL", conf({ table: 300 }))).toMatchObject({ status: 0 });
    expect((await rules()).filter(({ src }) => src === "10.9.1.2")).toMatchObject([{ table: "400" }]);
    expect(await inPod("route", "show", "table", "300")).toContain("10.66.0.0/16");
    await inPod("rule", "del", "from", "10.9.1.2");
  });

  test.each(["", "/run/netns/weft-test-nobody"])(
    "in the namespace %j changes nothing, and makes no file",
    async (netns) => {
      expect(await sbr("DEL", conf(), { netns })).toEqual({ status: 0, output: "", json: undefined });
      expect(await bed.node.run("test", ["-e", "/run/netns/weft-test-nobody"])).toMatchObject({ status: 1 });
    },
  );
});

describe("a failed ADD changes nothing", () => {
  test.each([
    ["an invalid table", { table: -1 }, {}, 7, "table"],
    ["two gateways of one family", { gateways: ["10.9.1.5", "10.9.1.6"] }, {}, 7, "gateways"],
    ["no prevResult", { prevResult: undefined }, {}, 7, "prevResult"],
    ["no addresses", { prevResult: { interfaces: [{ name: "net1" }] } }, {}, 7, "prevResult.ips"],
    ["no interface", {}, { ifName: "net7" }, 7, "prevResult.ips"],
    ["a gateway outside the link's subnets", { gateways: ["172.16.0.1"] }, {}, 999, "172.16.0.1"],
  ])("%s", async (_name, more, options, code, text) => {
    const before = await state();
    const answer = await sbr("ADD", conf(more), options);
    expect(answer).toMatchObject({ status: 1, json: { code, msg: expect.stringContaining(text) } });
    expect(await state()).toEqual(before);
  });
});

test("the bridge's CHECK after sbr finds its routes in sbr's tables", async () => {
  const bridge = {
    ...{ cniVersion: "1.1.0", name: "by-source", type: "bridge", bridge: "br9", isDefaultGateway: true },
    ipam: { type: "static", addresses: [{ address: "10.99.0.2/24", gateway: "10.99.0.1" }] },
  };
  const options = { ifName: "net2", containerId: "c2" };
  // A table can have only one default route of each metric.
  await inPod("route", "del", "default");
  const { json: prevResult } = await bed.call(OURS, "bridge", "ADD", bridge, options);
  const check = () => bed.call(OURS, "bridge", "CHECK", { ...bridge, prevResult }, options);
  expect(await check()).toMatchObject({ status: 0, output: "" });
  expect(await sbr("ADD", { ...conf(), prevResult }, options)).toMatchObject({ status: 0, json: prevResult });
  expect(await check()).toMatchObject({ status: 0, output: "" });
  expect(await sbr("CHECK", { ...conf(), prevResult }, options)).toMatchObject({ status: 0, output: "" });
  await inPod("route", "flush", "table", "100");
  expect(await check()).toMatchObject({ status: 1 });
  await sbr("DEL", { ...conf(), prevResult }, options);
  await bed.call(OURS, "bridge", "DEL", { ...bridge, prevResult }, options);
  await bed.node.succeed("ip", ["link", "del", "br9"]);
});

test("STATUS succeeds, and reports a configuration that no ADD can serve; GC succeeds without work", async () => {
  expect(await sbr("STATUS")).toMatchObject({ status: 0, output: "" });
  expect(await sbr("STATUS", conf({ table: 0 }))).toMatchObject({ status: 1, json: { code: 7 } });
  expect(await sbr("GC", { ...conf(), "cni.dev/valid-attachments": [] })).toMatchObject({ status: 0, output: "" });
});
