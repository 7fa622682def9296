/**
 * bandwidth with shapedSubnets and unshapedSubnets: the kernel's counters show which packets pass the token buckets.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

const BRIDGE = {
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "cni0", isDefaultGateway: true },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
};
/** Addresses of the node, each in its own subnet. */
const NEAR = ["10.22.0.1", "fd00:22::1"] as const;
const FAR = ["198.51.100.1", "2001:db8:51::1"] as const;
const FAR_SUBNETS = ["198.51.100.77/24", "2001:db8:51::/64"];
const PINGS = 20;

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
  await bed.node.succeed("sh", [
    "-c",
    "ip address add 198.51.100.1/24 dev lo && ip address add 2001:db8:51::1/64 dev lo nodad",
  ]);
});
afterEach(() => bed.close());

async function attach(more: object) {
  const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
  const rates = { ingressRate: 80_000_000, ingressBurst: 8_000_000, egressRate: 80_000_000, egressBurst: 8_000_000 };
  const conf = { cniVersion: "1.1.0", name: "net", type: "bandwidth", ...rates, ...more, prevResult: added.json };
  const answer = await bed.call(OURS, "bandwidth", "ADD", conf);
  expect(answer).toMatchObject({ status: 0 });
  return { conf, after: { ...conf, prevResult: answer.json } };
}

/** The number of packets that passed the pod's token buckets, by device. */
async function passed(): Promise<Record<string, number>> {
  const qdiscs = await bed.node.json<{ kind: string; dev: string; packets: number }[]>("tc", [
    "-s",
    "-j",
    "qdisc",
    "show",
  ]);
  return Object.fromEntries(
    qdiscs.filter(({ kind }) => kind === "tbf").map(({ dev, packets }) => [dev.slice(0, 3), packets]),
  );
}

/** The devices whose token buckets the pings to an address pass, in both directions. */
async function waysTo(address: string): Promise<string[]> {
  const before = await passed();
  await bed.pod.succeed("ping", ["-n", "-q", "-c", String(PINGS), "-i", "0.02", "-W", "5", address]);
  const after = await passed();
  // The kernel also sends neighbour requests from time to time.
  return Object.keys(after)
    .filter((dev) => (after[dev] ?? 0) - (before[dev] ?? 0) >= PINGS)
    .sort();
}

const leftovers = async () =>
  (await bed.node.json<{ ifname: string }[]>("ip", ["-j", "link", "show"])).filter(({ ifname }) => /^bw/.test(ifname));

describe.each([
  ["unshapedSubnets", NEAR, FAR],
  ["shapedSubnets", FAR, NEAR],
] as const)("%s", (key, limited, free) => {
  test("limits the configured subnets, and nothing else, in both directions and families", async () => {
    const { conf, after } = await attach({ [key]: FAR_SUBNETS });
    for (const address of limited) expect(await waysTo(address)).toEqual(["bwi", "bwp"]);
    for (const address of free) expect(await waysTo(address)).toEqual([]);
    expect(await bed.call(OURS, "bandwidth", "CHECK", after)).toMatchObject({ status: 0 });
    expect(after.prevResult.interfaces.slice(-2)).toMatchObject(
      [{ name: /^bwp/ }, { name: /^bwi/ }].map(({ name }) => ({ name: expect.stringMatching(name) })),
    );
    expect(await bed.call(OURS, "bandwidth", "DEL", conf)).toMatchObject({ status: 0 });
    expect(await leftovers()).toEqual([]);
  });

  test("limits a single direction, and CHECK reports a missing filter", async () => {
    const { after } = await attach({ [key]: FAR_SUBNETS, ingressRate: 0, ingressBurst: 0 });
    for (const address of limited) expect(await waysTo(address)).toEqual(["bwp"]);
    const host = after.prevResult.interfaces[1].name;
    await bed.node.succeed("tc", ["filter", "del", "dev", host, "ingress", "protocol", "ip", "pref", "1"]);
    expect((await bed.call(OURS, "bandwidth", "CHECK", after)).json).toMatchObject({
      msg: expect.stringMatching(
        /a filter of veth[0-9a-f]{8} .* is missing: tc filter add .* ip dst 198\.51\.100\.0\/24/,
      ),
    });
  });
});

test("the network's subnets apply to the runtime's rates, and GC removes all devices", async () => {
  const none = { ingressRate: undefined, ingressBurst: undefined, egressRate: undefined, egressBurst: undefined };
  const bandwidth = {
    ingressRate: 80_000_000,
    ingressBurst: 8_000_000,
    egressRate: 80_000_000,
    egressBurst: 8_000_000,
  };
  await attach({ ...none, unshapedSubnets: FAR_SUBNETS, runtimeConfig: { bandwidth } });
  expect(await waysTo(FAR[0])).toEqual([]);
  expect(await waysTo(NEAR[0])).toEqual(["bwi", "bwp"]);
  const gc = { cniVersion: "1.1.0", name: "net", type: "bandwidth", "cni.dev/valid-attachments": [] };
  expect(await bed.call(OURS, "bandwidth", "GC", gc)).toMatchObject({ status: 0 });
  expect(await leftovers()).toEqual([]);
});

test.each([
  [{ unshapedSubnets: ["10.0.0.0"] }, /unshapedSubnets\[0\]: "10\.0\.0\.0" is not a prefix/],
  [
    { unshapedSubnets: ["10.0.0.0/8"], shapedSubnets: ["10.9.0.0/16"] },
    /unshapedSubnets: expected none if shapedSubnets/,
  ],
])("rejects %j and makes nothing", async (more, message) => {
  const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
  const rates = { egressRate: 80_000_000, egressBurst: 8_000_000 };
  const conf = { cniVersion: "1.1.0", name: "net", type: "bandwidth", ...rates, ...more, prevResult: added.json };
  expect((await bed.call(OURS, "bandwidth", "ADD", conf)).json).toMatchObject({
    ...{ code: 7, msg: expect.stringMatching(message) },
  });
  expect(await leftovers()).toEqual([]);
});
