/** macvlan on a real kernel: which pods reach which, and what remains. test/differential compares its results. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HostLink } from "./harness/host-link.ts";
import type { Inside } from "./harness/inside.ts";
import type { CallOptions, PluginBed } from "./harness/plugin-bed.ts";

const PORT = 7011;
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.31.0.0/24" }], [{ subnet: "fd00:31::/64" }]] };
const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "macvlan", master: "eth0", ipam: DUAL },
  ...more,
});
const [OUTSIDE, OUTSIDE6] = ["10.31.0.200", "fd00:31::c8"];

let link: HostLink;
let bed: PluginBed;
let outside: Inside;
beforeEach(async () => {
  // The host's link has the same name as the pods' interfaces.
  link = await HostLink.make([`${OUTSIDE}/24`, `${OUTSIDE6}/64`]);
  ({ bed, outside } = link);
});
afterEach(() => link.close());

const macvlan = (verb: string, input: unknown = conf(), options: CallOptions = {}) =>
  link.call("macvlan", verb, input, options);

const attach = async (input: unknown = conf()) => {
  const other = await bed.anotherPod("other");
  const first = await macvlan("ADD", input);
  const second = await macvlan("ADD", input, { containerId: "c2", netns: other.namespace.path });
  expect([first, second]).toMatchObject([
    { status: 0, json: { ips: [{ address: "10.31.0.2/24" }, { address: "fd00:31::2/64" }] } },
    { status: 0, json: { ips: [{ address: "10.31.0.3/24" }, { address: "fd00:31::3/64" }] } },
  ]);
  return { first, second, other };
};

describe("pods on the host's link", () => {
  test("reach each other and a machine on the link, in both families, with their own addresses", async () => {
    const { other } = await attach();
    for (const inside of [outside, other.inside]) await inside.listen(PORT);
    expect(await bed.pod.seenBy(OUTSIDE, PORT)).toBe("10.31.0.2");
    expect(await bed.pod.seenBy(OUTSIDE6, PORT)).toBe("fd00:31::2");
    expect(await bed.pod.seenBy("10.31.0.3", PORT)).toBe("10.31.0.2");
    expect(await bed.pod.seenBy("fd00:31::3", PORT)).toBe("fd00:31::2");
    expect(await outside.seenBy("10.31.0.3", PORT)).toBe(OUTSIDE);
  });

  test("in private mode reach the machine, and not each other", async () => {
    await attach(conf({ mode: "private" }));
    expect(await bed.pod.pings(OUTSIDE)).toBe(true);
    expect(await bed.pod.pings("10.31.0.3", 1)).toBe(false);
  });

  test("are gone after DEL: the old address does not answer, and another pod gets it", async () => {
    const { first } = await attach();
    expect(await outside.pings("10.31.0.2")).toBe(true);
    expect(await macvlan("DEL", { ...conf(), prevResult: first.json })).toMatchObject({ status: 0, output: "" });
    expect(await outside.pings("10.31.0.2", 1)).toBe(false);
    expect(await outside.pings("10.31.0.3")).toBe(true);
    expect(await bed.pod.json("ip", ["-j", "link", "show", "type", "macvlan"])).toEqual([]);
    expect(await bed.reservations()).not.toMatch(/c1/);
  });

  test("announce their addresses to neighbours as soon as they have them", async () => {
    await outside.succeed("sh", ["-c", "echo 1 >/proc/sys/net/ipv4/conf/far0/arp_accept"]);
    const { first } = await attach();
    const neighbours = await outside.json<object[]>("ip", ["-j", "neighbour", "show", "10.31.0.2"]);
    expect(neighbours).toMatchObject([{ lladdr: first.json.interfaces[0].mac }]);
  });
});

test("in the pod, a link of the pod can be shared", async () => {
  await bed.pod.succeed("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "far0"]);
  await bed.pod.succeed("ip", ["link", "set", "eth0", "up"]);
  const input = conf({ linkInContainer: true });
  const added = await macvlan("ADD", input, { ifName: "net1" });
  expect(added).toMatchObject({ status: 0 });
  const [link] = await bed.pod.json<object[]>("ip", ["-j", "-d", "link", "show", "net1"]);
  expect(link).toMatchObject({ link: "eth0", linkinfo: { info_kind: "macvlan" } });
  const withResult = { ...input, prevResult: added.json };
  expect(await macvlan("CHECK", withResult, { ifName: "net1" })).toMatchObject({ status: 0 });
  expect(await macvlan("DEL", withResult, { ifName: "net1" })).toMatchObject({ status: 0 });
  expect(await bed.pod.json("ip", ["-j", "link", "show", "type", "macvlan"])).toEqual([]);
});

test.each([
  ["an MTU larger than the host link's", { mtu: 1501 }, 7, /^mtu: .*at most 1500, the MTU of eth0/],
  ["an unknown master", { master: "up9" }, 7, /^master: there is no link up9/],
  ["a missing default route, without a master", { master: "" }, 7, /^master: .*no default route/],
  ["an unknown mode", { mode: "bridged" }, 7, /^mode: .*private, vepa, bridge, passthru/],
  ["a queue length of zero", { bcqueuelen: -1 }, 7, /^bcqueuelen/],
  ["a group's MAC", { mac: "01:00:5e:00:00:01" }, 7, /^mac: /],
  ["an unreachable gateway", { ipam: { ...DUAL, routes: [{ dst: "10.9.0.0/16", gw: "10.99.0.1" }] } }, 999, /10\.99/],
])("rejects %s, and changes nothing", async (_name, more, code, message) => {
  const before = await bed.state();
  const added = await macvlan("ADD", conf(more));
  expect(added).toMatchObject({ status: 1, json: { code, msg: expect.stringMatching(message) } });
  expect(await bed.state()).toEqual(before);
});

test("DEL succeeds with a configuration that ADD rejects", async () => {
  expect(await macvlan("ADD")).toMatchObject({ status: 0 });
  const refused = conf({ mode: "bridged", master: "up9", mtu: -1, mac: "none", prevResult: { ips: 1 } });
  expect(await macvlan("DEL", refused)).toMatchObject({ status: 0, output: "" });
  expect(await bed.pod.json("ip", ["-j", "link", "show", "type", "macvlan"])).toEqual([]);
  expect(await bed.reservations()).toBe("");
});

test("the parent's alternative name is accepted, even a long one, and an unknown one is rejected", async () => {
  const name = "enp0s31f6verylongname";
  await bed.node.succeed("ip", ["link", "property", "add", "dev", "eth0", "altname", name]);
  const named = conf({ master: name });
  expect(await macvlan("STATUS", named)).toMatchObject({ status: 0 });
  const added = await macvlan("ADD", named);
  expect(added).toMatchObject({ status: 0 });
  expect(await bed.pod.pings(OUTSIDE)).toBe(true);
  expect(await macvlan("CHECK", { ...named, prevResult: added.json })).toMatchObject({ status: 0 });
  expect(await macvlan("DEL", { ...named, prevResult: added.json })).toMatchObject({ status: 0 });
  for (const unknown of ["enp0s31f6anotherlongname", "x".repeat(200)]) {
    expect(await macvlan("ADD", conf({ master: unknown }))).toMatchObject({
      status: 1,
      json: { code: 7, msg: expect.stringContaining(`master: there is no link ${unknown} in`) },
    });
  }
});

test("CHECK detects another parent", async () => {
  const added = await macvlan("ADD");
  await bed.node.succeed("ip", ["link", "add", "up1", "type", "veth", "peer", "name", "far1"]);
  const check = (master: string) => macvlan("CHECK", { ...conf({ master }), prevResult: added.json });
  expect(await check("eth0")).toMatchObject({ status: 0, output: "" });
  expect(await check("up1")).toMatchObject({
    status: 1,
    json: { code: 999, msg: expect.stringMatching(/is on the link with index \d+: expected up1/) },
  });
});

test("STATUS succeeds if the host has the link, and returns code 50 without it", async () => {
  expect(await macvlan("STATUS")).toMatchObject({ status: 0, output: "" });
  expect(await macvlan("STATUS", conf({ master: "up9" }))).toMatchObject({
    status: 1,
    json: { code: 50, msg: expect.stringContaining("up9") },
  });
});

test("GC frees the addresses of deleted pods, and keeps the others", async () => {
  const { other } = await attach();
  const attachments = [{ containerID: "c2", ifname: "eth0" }];
  const collected = await macvlan("GC", { ...conf(), "cni.dev/valid-attachments": attachments });
  expect(collected).toMatchObject({ status: 0, output: "" });
  expect(await bed.reservations()).not.toMatch(/c1/);
  expect(await bed.reservations()).toMatch(/c2/);
  expect(await other.inside.pings(OUTSIDE)).toBe(true);
});
