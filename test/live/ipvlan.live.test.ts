/** ipvlan on a real kernel: which pods reach which, and the errors on a kernel without ipvlan. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HostLink } from "./harness/host-link.ts";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import type { CallOptions } from "./harness/plugin-bed.ts";

const canIpvlan = kernelCan(
  "ipvlan",
  "ip link add up0 type veth peer name far0 && ip link add link up0 name ip0 type ipvlan",
);

const PORT = 7014;
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.34.0.0/24" }], [{ subnet: "fd00:34::/64" }]] };
const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "ipvlan", master: "eth0", ipam: DUAL },
  ...more,
});
const TWO = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "eth0" }, { name: "eth1" }],
  ips: [{ address: "10.34.0.77/24" }],
};
const [OUTSIDE, OUTSIDE6] = ["10.34.0.200", "fd00:34::c8"];

let link: HostLink;
beforeEach(async () => {
  link = await HostLink.make([`${OUTSIDE}/24`, `${OUTSIDE6}/64`]);
});
afterEach(() => link.close());

const ipvlan = (verb: string, input: unknown = conf(), options: CallOptions = {}) =>
  link.call("ipvlan", verb, input, options);

describeWhere(canIpvlan)("pods on the host's link", () => {
  test("reach each other and a machine on the link, in both families, with the link's hardware address", async () => {
    const other = await link.bed.anotherPod("other");
    const first = await ipvlan("ADD");
    const second = await ipvlan("ADD", conf(), { containerId: "c2", netns: other.namespace.path });
    const mac = await link.mac();
    expect([first, second]).toMatchObject([
      { status: 0, json: { interfaces: [{ name: "eth0", mac }], ips: [{ address: "10.34.0.2/24" }, {}] } },
      { status: 0, json: { interfaces: [{ name: "eth0", mac }], ips: [{ address: "10.34.0.3/24" }, {}] } },
    ]);
    for (const inside of [link.outside, other.inside]) await inside.listen(PORT);
    const { pod } = link.bed;
    expect(await pod.seenBy(OUTSIDE, PORT)).toBe("10.34.0.2");
    expect(await pod.seenBy(OUTSIDE6, PORT)).toBe("fd00:34::2");
    expect(await pod.seenBy("10.34.0.3", PORT)).toBe("10.34.0.2");
    expect(await pod.seenBy("fd00:34::3", PORT)).toBe("fd00:34::2");
    expect(await ipvlan("DEL", { ...conf(), prevResult: first.json })).toMatchObject({ status: 0, output: "" });
    expect(await ipvlan("DEL", { ...conf(), prevResult: first.json })).toMatchObject({ status: 0, output: "" });
    expect(await link.outside.pings("10.34.0.2", 1)).toBe(false);
    expect(await pod.json("ip", ["-j", "link", "show", "type", "ipvlan"])).toEqual([]);
    expect(await link.bed.reservations()).not.toMatch(/c1/);
  });

  test.each(["l2", "l3", "l3s"])("in mode %s pass CHECK, and have that mode", async (mode) => {
    const added = await ipvlan("ADD", conf({ mode, mtu: 1400 }));
    const check = (more: object) => ipvlan("CHECK", { ...conf({ mode, mtu: 1400 }), prevResult: added.json, ...more });
    const shown = await link.bed.pod.json<object[]>("ip", ["-j", "-d", "link", "show", "eth0"]);
    expect(shown).toMatchObject([{ mtu: 1400, linkinfo: { info_kind: "ipvlan", info_data: { mode } } }]);
    expect(await check({})).toMatchObject({ status: 0, output: "" });
    const others = mode === "l2" ? "l3" : "l2";
    expect(await check({ mode: others })).toMatchObject({
      status: 1,
      json: { code: 999, msg: expect.stringMatching(/mode/) },
    });
    expect(await check({ mtu: 1300 })).toMatchObject({
      status: 1,
      json: { code: 999, msg: expect.stringMatching(/MTU/) },
    });
    await link.bed.node.succeed("ip", ["link", "add", "up1", "type", "veth", "peer", "name", "far1"]);
    expect(await check({ master: "up1" })).toMatchObject({
      status: 1,
      json: { code: 999, msg: expect.stringMatching(/expected up1/) },
    });
  });

  test("after another plugin, use that plugin's link and addresses", async () => {
    const prevResult = {
      cniVersion: "1.1.0",
      interfaces: [{ name: "eth0", mac: await link.mac() }],
      ips: [{ address: "10.34.0.77/24", gateway: "10.34.0.1" }],
      routes: [{ dst: "0.0.0.0/0" }],
    };
    const chained = conf({ master: undefined, ipam: undefined, prevResult });
    const added = await ipvlan("ADD", chained, { ifName: "net1" });
    expect(added).toMatchObject({
      status: 0,
      json: { interfaces: [{ name: "net1" }], ips: [{ address: "10.34.0.77/24", interface: 0 }], routes: [{}] },
    });
    expect(await link.bed.pod.pings(OUTSIDE)).toBe(true);
    const after = { ...chained, prevResult: added.json };
    expect(await ipvlan("CHECK", after, { ifName: "net1" })).toMatchObject({ status: 0, output: "" });
    expect(await ipvlan("DEL", after, { ifName: "net1" })).toMatchObject({ status: 0, output: "" });
    expect(await ipvlan("STATUS", { ...chained, prevResult: undefined })).toMatchObject({ status: 0, output: "" });
  });

  test("in the pod, a link of the pod can be shared", async () => {
    const { pod } = link.bed;
    await pod.succeed("ip", ["link", "add", "in0", "type", "veth", "peer", "name", "in1"]);
    const input = conf({ master: "in0", linkInContainer: true });
    const added = await ipvlan("ADD", input);
    expect(await pod.json<object[]>("ip", ["-j", "link", "show", "eth0"])).toMatchObject([{ link: "in0" }]);
    expect(await ipvlan("CHECK", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await ipvlan("DEL", input)).toMatchObject({ status: 0, output: "" });
  });

  test("have a STATUS that requires only the link", async () => {
    expect(await ipvlan("STATUS")).toMatchObject({ status: 0, output: "" });
    expect(await ipvlan("STATUS", conf({ master: "up9" }))).toMatchObject({ status: 1, json: { code: 50 } });
  });
});

describeWhere(!canIpvlan)("a kernel without ipvlan", () => {
  test("fails ADD, which leaves nothing, and STATUS; both name the module", async () => {
    const before = await link.bed.state();
    expect(await ipvlan("ADD")).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/modprobe ipvlan/) } });
    expect(await link.bed.state()).toEqual(before);
    expect(await ipvlan("STATUS")).toMatchObject({ status: 1, json: { code: 50 } });
  });
});

test.each([
  ["an unknown mode", { mode: "l4" }, /^mode: .*l2, l3, l3s/],
  ["an unknown master", { master: "up9" }, /^master: there is no link up9/],
  ["an MTU larger than the host link's", { mtu: 1501 }, /^mtu: .*at most 1500/],
  ["neither ipam nor a previous plugin", { ipam: undefined }, /^ipam: /],
  ["a previous plugin with two interfaces", { master: "", prevResult: TWO }, /^master: .*2 interfaces/],
])("rejects %s, and changes nothing", async (_name, more, message) => {
  const before = await link.bed.state();
  const added = await ipvlan("ADD", conf(more));
  expect(added).toMatchObject({ status: 1, json: { code: 7, msg: expect.stringMatching(message) } });
  expect(await link.bed.state()).toEqual(before);
});
