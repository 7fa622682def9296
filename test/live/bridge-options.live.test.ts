/**
 * bridge's options on a real kernel, tested by what pods can do: port isolation, source addresses, duplicate address
 * detection.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import { type CallOptions, OURS, PluginBed } from "./harness/plugin-bed.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const DUAL = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };
const GATEWAY = "10.22.0.1";

const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "cni0", isGateway: true, ipam: IPAM },
  ...more,
});

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const bridge = (verb: string, input: unknown, options: CallOptions = {}) =>
  bed.call(OURS, "bridge", verb, input, options);

interface Attached {
  readonly inside: Inside;
  readonly options: CallOptions;
  readonly configuration: object;
  readonly address: string;
  readonly mac: string;
  readonly port: string;
}

/** Attaches a new pod `label`. host-local assigns addresses in turn. */
async function attach(label: string, more: object = {}): Promise<Attached> {
  const { namespace, inside } = await bed.anotherPod(label);
  const options = { containerId: label, netns: namespace.path };
  const configuration = conf(more);
  const { status, json } = await bridge("ADD", configuration, options);
  expect(json).toMatchObject({ interfaces: expect.anything() });
  expect(status).toBe(0);
  return {
    ...{ inside, options, configuration: { ...configuration, prevResult: json } },
    ...{ address: json.ips?.[0]?.address.split("/")[0], mac: json.interfaces[2].mac, port: json.interfaces[1].name },
  };
}

test("isolated ports reach the gateway and other ports, but not each other", async () => {
  const [first, second] = [await attach("a", { portIsolation: true }), await attach("b", { portIsolation: true })];
  const open = await attach("c");
  expect(await first.inside.pings(GATEWAY)).toBe(true);
  expect(await first.inside.pings(open.address)).toBe(true);
  expect(await open.inside.pings(second.address)).toBe(true);
  expect(await first.inside.pings(second.address, 1)).toBe(false);
  expect(await bridge("CHECK", first.configuration, first.options)).toMatchObject({ status: 0 });
  await bed.node.succeed("bridge", ["link", "set", "dev", first.port, "isolated", "off"]);
  expect(await first.inside.pings(second.address)).toBe(true);
  expect(await bridge("CHECK", first.configuration, first.options)).toMatchObject({
    status: 1,
    json: { msg: expect.stringContaining(`${first.port} is not isolated`) },
  });
});

describe("macspoofchk", () => {
  const FORGED = "02:00:5e:00:00:99";
  const guarded = { macspoofchk: true };
  const ruleset = () => bed.node.succeed("nft", ["list", "ruleset"]);

  /**
   * Rewrites the source address of all frames that leave the pod. The pod's own interface does not know that address.
   */
  async function forge({ inside }: Attached): Promise<void> {
    await inside.succeed("nft", ["add table netdev forge"]);
    await inside.succeed("nft", ["add chain netdev forge out { type filter hook egress device eth0 priority 0; }"]);
    await inside.succeed("nft", [`add rule netdev forge out ether saddr set ${FORGED}`]);
  }

  test("accepts a guarded pod's frames from its own address only, and other pods' frames from any", async () => {
    const [pod, other, free] = [await attach("a", guarded), await attach("b"), await attach("c")];
    expect(await pod.inside.pings(other.address)).toBe(true);
    expect(await pod.inside.pings(GATEWAY)).toBe(true);
    await forge(pod);
    await forge(free);
    expect(await free.inside.pings(other.address)).toBe(true);
    expect(await pod.inside.pings(other.address, 1)).toBe(false);
    expect(await pod.inside.pings(GATEWAY, 1)).toBe(false);
    expect(await ruleset()).toMatch(/iifname @ports iifname \. ether saddr != @sources counter packets [1-9]/);
    await pod.inside.succeed("nft", ["delete table netdev forge"]);
    expect(await pod.inside.pings(other.address)).toBe(true);
  });

  test("drops frames while the pod has another address, until it restores its own", async () => {
    const [pod, other] = [await attach("a", guarded), await attach("b")];
    const setMac = async (mac: string) => {
      await pod.inside.succeed("ip", ["link", "set", "eth0", "address", mac]);
      for (const inside of [pod.inside, other.inside, bed.node])
        await inside.succeed("ip", ["neighbour", "flush", "all"]);
    };
    expect(await pod.inside.pings(other.address)).toBe(true);
    await setMac(FORGED);
    expect(await pod.inside.pings(other.address, 1)).toBe(false);
    // A neighbour's address is not accepted either.
    await setMac(other.mac);
    expect(await pod.inside.pings(GATEWAY, 1)).toBe(false);
    await setMac(pod.mac);
    expect(await pod.inside.pings(other.address)).toBe(true);
  });

  test("marks rules with their owner, checks them, and removes them on DEL, with the namespace or without", async () => {
    const [first, second] = [await attach("a", guarded), await attach("b", guarded)];
    const rules = await ruleset();
    expect(rules).toContain(`"${first.port}" comment "cni:net/a/eth0"`);
    expect(rules).toContain(`"${first.port}" . ${first.mac} comment "cni:net/a/eth0"`);
    expect(await bridge("CHECK", first.configuration, first.options)).toMatchObject({ status: 0 });
    await bed.node.succeed("nft", [
      "delete",
      "element",
      "bridge",
      "weft_macspoof",
      "ports",
      "{",
      `"${first.port}"`,
      "}",
    ]);
    expect(await bridge("CHECK", first.configuration, first.options)).toMatchObject({
      status: 1,
      json: { msg: expect.stringContaining(`${first.port} are not restricted to the source ${first.mac}`) },
    });
    expect(await bridge("DEL", first.configuration, first.options)).toMatchObject({ status: 0, output: "" });
    expect(await ruleset()).not.toContain(first.port);
    expect(await ruleset()).toContain(second.port);
    expect(
      await bridge("DEL", conf(guarded), { ...second.options, netns: "/run/netns/weft-test-nobody" }),
    ).toMatchObject({
      status: 0,
    });
    expect(await ruleset()).not.toContain(second.port);
  });

  test("removes its rules after a failed ADD, and on GC", async () => {
    const kept = await attach("a", guarded);
    const before = await bed.state();
    const { namespace } = await bed.anotherPod("b");
    const refused = conf({ ...guarded, ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] } });
    expect(await bridge("ADD", refused, { containerId: "b", netns: namespace.path })).toMatchObject({ status: 1 });
    expect(await bed.state()).toEqual(before);
    const lost = await attach("c", guarded);
    const valid = { "cni.dev/valid-attachments": [{ containerID: "a", ifname: "eth0" }] };
    expect(await bridge("GC", { ...conf(guarded), ...valid })).toMatchObject({ status: 0 });
    expect(await ruleset()).toContain(kept.port);
    expect(await ruleset()).not.toContain(lost.port);
  });

  test("survives many concurrent calls, and a table that another program changed", async () => {
    await attach("a", guarded);
    await bed.node.succeed("nft", ["flush chain bridge weft_macspoof prerouting"]);
    const pods = await bed.emptyPods(12);
    const options = pods.map(({ path }, at) => ({ containerId: `m${at}`, netns: path }));
    const added = await Promise.all(options.map((option) => bridge("ADD", conf(guarded), option)));
    expect(added.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(12).fill(0));
    const rules = await ruleset();
    expect(rules).toContain("ether saddr != @sources");
    for (const { json } of added) expect(rules.split(json.interfaces[1].name)).toHaveLength(3);
    const deleted = await Promise.all(options.map((option) => bridge("DEL", conf(guarded), option)));
    expect(deleted.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(12).fill(0));
    expect((await ruleset()).match(/cni:net\//g)).toHaveLength(2);
  });
});

describe("enabledad", () => {
  const detecting = { enabledad: true, ipam: DUAL };
  const addresses = async (inside: Inside) =>
    (
      await inside.json<{ addr_info: { local: string; tentative?: boolean; dadfailed?: boolean }[] }[]>("ip", [
        ...["-j", "address", "show", "dev", "eth0"],
      ])
    ).flatMap(({ addr_info }) => addr_info);

  test("returns when detection has ended and the addresses are in use, also with hairpin mode", async () => {
    const before = Date.now();
    const pod = await attach("a", { ...detecting, hairpinMode: true });
    expect(Date.now() - before).toBeGreaterThan(900);
    const held = await addresses(pod.inside);
    expect(held.map(({ local }) => local)).toEqual(expect.arrayContaining(["10.22.0.2", "fd00:22::2"]));
    expect(held.filter(({ tentative, dadfailed }) => tentative === true || dadfailed === true)).toEqual([]);
    expect(await pod.inside.pings("fd00:22::1")).toBe(true);
  });

  test("rejects an address that another pod on the bridge has, and leaves nothing", async () => {
    const squatter = await attach("squatter", { ipam: {}, isGateway: false });
    await squatter.inside.succeed("ip", ["address", "add", "fd00:22::2/64", "dev", "eth0", "nodad"]);
    const before = await bed.state();
    const answer = await bridge("ADD", conf(detecting));
    expect(answer).toMatchObject({
      status: 1,
      json: { code: 11, msg: expect.stringMatching(/has the address fd00:22::2\/64 \(duplicate address detection\)/) },
    });
    expect(await bed.state()).toEqual(before);
    expect(await bridge("ADD", conf({ ipam: DUAL }))).toMatchObject({ status: 0 });
  });
});

describe("disableContainerInterface", () => {
  const down = conf({ isGateway: false, disableContainerInterface: true, ipam: {} });
  const link = async () =>
    (await bed.pod.json<{ ifname: string; flags: string[] }[]>("ip", ["-j", "link", "show", "eth0"]))[0];

  test("leaves the interface down, for another program to bring up later", async () => {
    const added = await bridge("ADD", down);
    expect(added).toMatchObject({ status: 0, json: { interfaces: [{ name: "cni0" }, {}, { name: "eth0" }] } });
    expect((await link())?.flags).not.toContain("UP");
    const checked = { ...down, prevResult: added.json };
    expect(await bridge("CHECK", checked)).toMatchObject({ status: 0 });
    await bed.pod.succeed("ip", ["link", "set", "eth0", "up"]);
    expect(await bridge("CHECK", checked)).toMatchObject({ status: 0 });
    expect(await bridge("DEL", checked)).toMatchObject({ status: 0 });
    expect(await bed.pod.json("ip", ["-j", "link", "show"])).toHaveLength(1);
  });

  test("is rejected together with addresses", async () => {
    const answer = await bridge("ADD", conf({ disableContainerInterface: true }));
    expect(answer).toMatchObject({
      status: 1,
      json: { code: 7, msg: expect.stringContaining("disableContainerInterface") },
    });
  });
});

test("ADDs succeed while concurrent ADDs make the same bridge, fail, and remove it", async () => {
  const refused = conf({ ipam: { ...IPAM, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] } });
  const pods = await bed.emptyPods(16);
  for (let round = 1; round <= 3; round++) {
    const answers = await Promise.all(
      pods.map(({ path }, at) =>
        bridge("ADD", at % 2 === 0 ? refused : conf(), { containerId: `r${round}p${at}`, netns: path }),
      ),
    );
    const wanted = answers.filter((_, at) => at % 2 === 1);
    expect(wanted.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(wanted.map(() => 0));
    const ports = await bed.node.json<{ master?: string }[]>("bridge", ["-j", "link", "show"]);
    expect(ports.filter(({ master }) => master === "cni0")).toHaveLength(wanted.length);
    const gateway = await bed.node.succeed("ip", ["address", "show", "dev", "cni0"]);
    expect(gateway).toContain("inet 10.22.0.1/24");
    for (const [at, { path }] of pods.entries()) {
      await bridge("DEL", conf(), { containerId: `r${round}p${at}`, netns: path });
    }
    await bed.node.succeed("ip", ["link", "del", "cni0"]);
  }
});
