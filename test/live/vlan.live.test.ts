/** vlan on a real kernel: which packets pass the host's link with a tag, and the errors on a kernel without VLANs. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HostLink } from "./harness/host-link.ts";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import type { CallOptions } from "./harness/plugin-bed.ts";

const canVlan = kernelCan(
  "vlan",
  "ip link add up0 type veth peer name far0 && ip link add link up0 name v0 type vlan id 5",
);

const PORT = 7015;
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.35.0.0/24" }], [{ subnet: "fd00:35::/64" }]] };
const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "vlan", master: "eth0", vlanId: 100, ipam: DUAL },
  ...more,
});
const [UNTAGGED, TAGGED, TAGGED6] = ["10.35.0.200", "10.35.0.201", "fd00:35::c9"];

let link: HostLink;
beforeEach(async () => {
  link = await HostLink.make([`${UNTAGGED}/24`]);
});
afterEach(() => link.close());

const vlan = (verb: string, input: unknown = conf(), options: CallOptions = {}) =>
  link.call("vlan", verb, input, options);

describeWhere(canVlan)("a pod on a VLAN of the host's link", () => {
  test("reaches only machines on that VLAN, in both families", async () => {
    await link.outside.succeed("ip", ["address", "flush", "dev", "far0"]);
    await link.outside.succeed("sh", ["-c", "ip link add link far0 name v100 type vlan id 100; ip link set v100 up"]);
    await link.addressOutside("v100", [`${TAGGED}/24`, `${TAGGED6}/64`]);
    await link.outside.listen(PORT);
    const added = await vlan("ADD");
    expect(added).toMatchObject({ status: 0, json: { interfaces: [{ name: "eth0", mac: await link.mac() }] } });
    expect(await link.bed.pod.seenBy(TAGGED, PORT)).toBe("10.35.0.2");
    expect(await link.bed.pod.seenBy(TAGGED6, PORT)).toBe("fd00:35::2");
    const other = await link.bed.anotherPod("other");
    const options = { containerId: "c2", netns: other.namespace.path };
    expect(await vlan("ADD", conf({ vlanId: 200 }), options)).toMatchObject({ status: 0 });
    expect(await other.inside.pings(TAGGED, 1)).toBe(false);
    expect(await vlan("DEL", { ...conf(), prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await vlan("DEL", { ...conf(), prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await link.outside.pings("10.35.0.2", 1)).toBe(false);
    expect(await link.bed.reservations()).not.toMatch(/c1/);
  });

  test("does not reach machines on the link itself", async () => {
    expect(await vlan("ADD")).toMatchObject({ status: 0 });
    expect(await link.bed.pod.pings(UNTAGGED, 1)).toBe(false);
  });

  test("is checked for its VLAN, its MTU and its parent", async () => {
    const input = conf({ mtu: 1400 });
    const added = await vlan("ADD", input);
    const check = (more: object) => vlan("CHECK", { ...input, prevResult: added.json, ...more });
    await link.bed.node.succeed("ip", ["link", "add", "up1", "type", "veth", "peer", "name", "far1"]);
    expect(await check({})).toMatchObject({ status: 0, output: "" });
    for (const [more, message] of [
      [{ vlanId: 101 }, /is VLAN 100: expected 101/],
      [{ master: "up1" }, /expected up1/],
    ] as const) {
      expect(await check(more)).toMatchObject({ status: 1, json: { code: 999, msg: expect.stringMatching(message) } });
    }
  });

  test("can be on a link of the pod", async () => {
    // A VLAN cannot come up on a link that is down.
    const parent = "ip link add in0 type veth peer name in1; ip link set in0 up";
    await link.bed.pod.succeed("sh", ["-c", parent]);
    const input = conf({ master: "in0", linkInContainer: true });
    const added = await vlan("ADD", input);
    expect(added).toMatchObject({ status: 0 });
    expect(await link.bed.pod.json<object[]>("ip", ["-j", "link", "show", "eth0"])).toMatchObject([{ link: "in0" }]);
    expect(await vlan("CHECK", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await vlan("DEL", input)).toMatchObject({ status: 0, output: "" });
  });

  test("fails STATUS with code 50 only if the link is missing", async () => {
    expect(await vlan("STATUS")).toMatchObject({ status: 0, output: "" });
    expect(await vlan("STATUS", conf({ master: "up9" }))).toMatchObject({ status: 1, json: { code: 50 } });
  });
});

describeWhere(!canVlan)("a kernel without VLANs", () => {
  test("fails ADD, which leaves nothing, and STATUS; both name the module", async () => {
    const before = await link.bed.state();
    expect(await vlan("ADD")).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/modprobe 8021q/) } });
    expect(await link.bed.state()).toEqual(before);
    expect(await vlan("STATUS")).toMatchObject({ status: 1, json: { code: 50 } });
  });
});

test.each([
  ["a reserved VLAN", { vlanId: 4095 }, /^vlanId: .*0 to 4094/],
  ["no master", { master: "" }, /^master: /],
  ["an unknown master", { master: "up9" }, /^master: there is no link up9/],
  ["an MTU larger than the host link's", { mtu: 1501 }, /^mtu: .*at most 1500/],
  ["no ipam", { ipam: undefined }, /^ipam: /],
])("rejects %s, and changes nothing", async (_name, more, message) => {
  const before = await link.bed.state();
  const added = await vlan("ADD", conf(more));
  expect(added).toMatchObject({ status: 1, json: { code: 7, msg: expect.stringMatching(message) } });
  expect(await link.bed.state()).toEqual(before);
});
