/** `bandwidth` on one veth, verified by tc and by measured throughput. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

type Json = Record<string, unknown>;

const [NODE_ADDRESS, POD_ADDRESS] = ["10.9.0.1", "10.9.0.2"];
const PORT = 7009;
const LIMITS = { ingressRate: 20_000_000, ingressBurst: 1_000_000, egressRate: 30_000_000, egressBurst: 2_000_000 };
/** "bwp" and the first characters of the SHA-512 of "shapec1". */
const IFB = "bwpa31a59b4333d";

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

beforeEach(async () => {
  const peer = ["peer", "name", "eth0", "netns", bed.podNamespace.name];
  await bed.node.succeed("ip", ["link", "add", "veth0", "type", "veth", ...peer]);
  for (const [inside, device, address] of [
    [bed.node, "veth0", NODE_ADDRESS],
    [bed.pod, "eth0", POD_ADDRESS],
  ] as const) {
    await inside.succeed("ip", ["address", "add", `${address}/24`, "dev", device]);
    await inside.succeed("ip", ["link", "set", device, "up"]);
  }
});
afterEach(async () => {
  await bed.node.succeed("ip", ["link", "del", "veth0"]);
  expect(await ifbs()).toEqual([]);
});

const conf = (more: object = LIMITS, cniVersion = "1.1.0") => ({
  ...{ cniVersion, name: "shape", type: "bandwidth", ...more },
  prevResult: {
    cniVersion,
    interfaces: [{ name: "veth0" }, { name: "eth0", sandbox: bed.podNamespace.path }],
    ips: [{ ...(cniVersion < "1" ? { version: "4" } : {}), address: `${POD_ADDRESS}/24`, interface: 1 }],
  },
});
const bandwidth = (verb: string, input: unknown = conf(), more: object = {}, bin = OURS) =>
  bed.call(bin, "bandwidth", verb, input, more);

const ifbs = () => bed.node.json<Json[]>("ip", ["-j", "link", "show", "type", "ifb"]);
const tc = async (...args: string[]) => (await bed.node.json<Json[]>("tc", ["-j", "-d", ...args])) as Json[];
const qdiscs = async () => (await tc("qdisc", "show")).filter(({ dev }) => dev !== "lo");

test("applies containerd's rates, and accepts its burst as given", async () => {
  const option = { IngressRate: 10_000_000, IngressBurst: 4294967295 };
  const input = conf({ capabilities: { bandwidth: true }, runtimeConfig: { bandwidth: option } });
  expect(await bandwidth("ADD", input)).toMatchObject({ status: 0 });
  expect(await qdiscs()).toMatchObject([{ kind: "tbf", root: true, options: { rate: 1_250_000 } }]);
  expect(await bandwidth("CHECK", input)).toMatchObject({ status: 0, output: "" });
});

describe("weft and the reference handle each other's attachments", () => {
  test.each([
    ["weft", OURS, "the reference", REFERENCE],
    ["the reference", REFERENCE, "weft", OURS],
  ])(
    "CHECK and DEL succeed for an attachment added by %s and handled by %s",
    async (_first, adds, _second, deletes) => {
      const { json: prevResult } = await bandwidth("ADD", conf(), {}, adds);
      expect(await ifbs()).toMatchObject([{ ifname: IFB }]);
      expect(await bandwidth("CHECK", { ...conf(), prevResult }, {}, deletes)).toMatchObject({ status: 0 });
      expect(await bandwidth("DEL", { ...conf(), prevResult }, {}, deletes)).toMatchObject({ status: 0, output: "" });
      expect(await ifbs()).toEqual([]);
    },
  );
});

describe("TCP throughput", () => {
  beforeAll(async () => {
    await bed.node.sink(PORT);
    await bed.pod.sink(PORT);
  });
  const FOR_MS = 4000;

  test.each([
    [20_000_000, 50_000_000],
    [50_000_000, 20_000_000],
  ])("is within 10 %% of the limits: to the pod %i bit/s, from it %i", async (ingressRate, egressRate) => {
    const input = conf({ ingressRate, ingressBurst: 1_000_000, egressRate, egressBurst: 1_000_000 });
    expect(await bandwidth("ADD", input)).toMatchObject({ status: 0 });
    const received = (await bed.node.pour(POD_ADDRESS, PORT, FOR_MS)) / ingressRate;
    const sent = (await bed.pod.pour(NODE_ADDRESS, PORT, FOR_MS)) / egressRate;
    console.log(`of the limit: received ${received.toFixed(3)}, sent ${sent.toFixed(3)}`);
    for (const share of [received, sent]) {
      expect(share).toBeGreaterThan(0.9);
      expect(share).toBeLessThan(1.1);
    }
    expect(await bandwidth("DEL", input)).toMatchObject({ status: 0 });
  });

  test("is far higher without a limit", async () => {
    expect(await bed.node.pour(POD_ADDRESS, PORT, 1000)).toBeGreaterThan(200_000_000);
    expect(await bed.pod.pour(NODE_ADDRESS, PORT, 1000)).toBeGreaterThan(200_000_000);
  });
});

describe("CHECK reports", () => {
  const MESSAGE = { status: 1, json: { code: 999 } };
  test.each([
    [
      "a missing bucket at the veth",
      ["tc", "qdisc", "del", "dev", "veth0", "root"],
      /veth0 .*not limited as configured/,
    ],
    [
      "another rate",
      [
        "tc",
        "qdisc",
        "change",
        "dev",
        "veth0",
        "root",
        "handle",
        "1:",
        "tbf",
        "rate",
        "9mbit",
        "burst",
        "9k",
        "limit",
        "9k",
      ],
      /veth0 .*not limited as configured/,
    ],
    ["a missing bucket at the ifb", ["tc", "qdisc", "del", "dev", IFB, "root"], new RegExp(`${IFB} .*not limited`)],
    ["a missing redirection", ["tc", "filter", "del", "dev", "veth0", "ingress"], /not redirected to/],
    ["a missing qdisc for filters", ["tc", "qdisc", "del", "dev", "veth0", "ingress"], /not redirected to/],
    ["an ifb that is down", ["ip", "link", "set", IFB, "down"], new RegExp(`${IFB} .*is down`)],
    ["a missing ifb", ["ip", "link", "del", IFB], new RegExp(`${IFB} is missing`)],
  ])("%s", async (_name, [file = "", ...args], message) => {
    const { json: prevResult } = await bandwidth("ADD");
    const check = () => bandwidth("CHECK", { ...conf(), prevResult });
    expect(await check()).toMatchObject({ status: 0, output: "" });
    await bed.node.succeed(file, args);
    expect(await check()).toMatchObject({ ...MESSAGE, json: { msg: expect.stringMatching(message) } });
    await bandwidth("DEL");
  });
});

describe("DEL", () => {
  test.each([
    ["without prevResult", { prevResult: undefined }, {}],
    ["without a namespace", {}, { netns: "" }],
    ["of a namespace that is gone", {}, { netns: "/run/netns/weft-test-nobody" }],
    ["with limits that are not numbers", { ingressRate: "fast", runtimeConfig: 7 }, {}],
    ["without limits", { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0, prevResult: undefined }, {}],
  ])("%s removes the ifb device, and succeeds again", async (_name, change, options) => {
    await bandwidth("ADD");
    expect(await ifbs()).toHaveLength(1);
    const input = { ...conf(), ...change };
    expect(await bandwidth("DEL", input, options)).toEqual({ status: 0, output: "", json: undefined });
    expect(await ifbs()).toEqual([]);
    expect(await bandwidth("DEL", input, options)).toMatchObject({ status: 0, output: "" });
  });

  test("of the container's other interface keeps this interface's limits", async () => {
    await bandwidth("ADD");
    expect(await bandwidth("DEL", conf(), { ifName: "net1" })).toMatchObject({ status: 0 });
    expect(await ifbs()).toHaveLength(1);
    await bandwidth("DEL");
  });
});

describe("a failed ADD changes nothing", () => {
  const state = async () => [await qdiscs(), await ifbs(), await tc("filter", "show", "dev", "veth0", "ingress")];

  test.each([
    ["a rate without a burst", { ingressRate: 1000 }, 7, "ingressBurst"],
    ["a burst of 4 GiB", { egressRate: 1000, egressBurst: 34_359_738_360 }, 7, "egressBurst"],
    ["an invalid subnet", { ...LIMITS, unshapedSubnets: ["10.0.0.0"] }, 7, "unshapedSubnets"],
    ["no prevResult", { ...LIMITS, prevResult: undefined }, 7, "prevResult"],
    ["an interface that is not a veth", { ...LIMITS, prevResult: { interfaces: [{ name: "lo" }] } }, 7, "prevResult"],
  ])("%s", async (_name, more, code, key) => {
    const before = await state();
    const input = { ...conf({}), ...more };
    const expected = { status: 1, json: { code, msg: expect.stringContaining(key) } };
    expect(await bandwidth("ADD", input)).toMatchObject(expected);
    expect(await state()).toEqual(before);
  });

  test.each([
    ["another program's root qdisc", ["qdisc", "add", "dev", "veth0", "root", "handle", "1:", "pfifo"]],
    ["another program's qdisc for filters", ["qdisc", "add", "dev", "veth0", "ingress"]],
  ])("%s", async (_name, args) => {
    await bed.node.succeed("tc", args);
    const before = await state();
    expect(await bandwidth("ADD")).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/EEXIST|exists/) } });
    expect(await state()).toEqual(before);
  });

  test("a second ADD without a DEL", async () => {
    await bandwidth("ADD");
    const before = await state();
    const expected = { status: 1, json: { code: 4, msg: expect.stringContaining(IFB) } };
    expect(await bandwidth("ADD")).toMatchObject(expected);
    expect(await state()).toEqual(before);
    await bandwidth("DEL");
  });
});

test("GC removes the ifb devices of this network's invalid attachments only", async () => {
  await bandwidth("ADD");
  for (const [name, alias] of [
    ["bwpother", "cni:other/c9/eth0"],
    ["bwpforeign", "somebody's"],
    ["bwpstale", "cni:shape/c9/eth0"],
  ] as const) {
    await bed.node.succeed("ip", ["link", "add", name, "type", "ifb"]);
    await bed.node.succeed("ip", ["link", "set", name, "alias", alias]);
  }
  const gc = (valid: object[]) => bandwidth("GC", { ...conf(), "cni.dev/valid-attachments": valid });
  const names = async () => (await ifbs()).map(({ ifname }) => ifname).sort();
  expect(await gc([{ containerID: "c1", ifname: "eth0" }])).toMatchObject({ status: 0, output: "" });
  expect(await names()).toEqual([IFB, "bwpforeign", "bwpother"].sort());
  expect(await gc([])).toMatchObject({ status: 0, output: "" });
  expect(await names()).toEqual(["bwpforeign", "bwpother"]);
  for (const name of ["bwpforeign", "bwpother"]) await bed.node.succeed("ip", ["link", "del", name]);
});

test("STATUS succeeds, and reports a configuration that no ADD can serve", async () => {
  expect(await bandwidth("STATUS", { ...conf(), prevResult: undefined })).toMatchObject({ status: 0, output: "" });
  expect(await bandwidth("STATUS", conf({ egressRate: 1000 }))).toMatchObject({ status: 1, json: { code: 7 } });
});
