/**
 * bridge if a pod gets an address that another pod on the bridge had a moment ago: peers of the old pod learn the new
 * pod's hardware address.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import type { Namespace } from "./harness/namespace.ts";
import { type Answer, OURS, PluginBed } from "./harness/plugin-bed.ts";
import { eventually } from "./harness/process.ts";

interface Family {
  readonly address: string;
  readonly subnet: string;
  readonly other: string;
}
const FAMILIES: readonly (readonly [string, Family])[] = [
  ["IPv4", { address: "10.22.0.50", subnet: "10.22.0.0/24", other: "10.22.0.200/24" }],
  ["IPv6", { address: "fd00:22::50", subnet: "fd00:22::/64", other: "fd00:22::200/64" }],
];

const conf = ({ subnet, address }: Family, more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "cni0", isDefaultGateway: true },
  ipam: { type: "host-local", ranges: [[{ subnet }]] },
  args: { cni: { ips: [address] } },
  ...more,
});
/** Keeps the bridge's carrier up: a bridge without ports forgets its neighbours. */
const keeper = (family: Family, more: object = {}) => {
  const { args: _, ...rest } = conf(family, more);
  return rest;
};

const canFilter = kernelCan("VLAN filtering of bridges", "ip link add probe0 type bridge vlan_filtering 1");

let bed: PluginBed;
let second: Namespace;
beforeEach(async () => {
  bed = await PluginBed.make();
  [second] = (await bed.emptyPods(1)) as [Namespace];
});
afterEach(() => bed.close());

const macOfPod = ({ json }: Answer): string =>
  json.interfaces.find(({ sandbox }: { sandbox?: string }) => sandbox !== undefined).mac;

async function add(configuration: object, containerId: string, netns: string): Promise<Answer> {
  const answer = await bed.call(OURS, "bridge", "ADD", configuration, { containerId, netns });
  expect(answer).toMatchObject({ status: 0 });
  return answer;
}

/** Adds the pod that keeps the bridge up, and the first pod with the address. */
async function firstPod(configuration: object, keeping: object): Promise<Answer> {
  const { namespace } = await bed.anotherPod("keeper");
  await add(keeping, "keeper", namespace.path);
  return add(configuration, "c1", bed.podNamespace.path);
}

/** Removes the first pod. The second one gets its address. */
async function replacePod(configuration: object): Promise<Answer> {
  await bed.call(OURS, "bridge", "DEL", configuration, { containerId: "c1" });
  return add(configuration, "c2", second.path);
}

interface Entry {
  readonly lladdr?: string;
  readonly state: readonly string[];
}
const entryOf = async (inside: Inside, address: string, device: string): Promise<Entry | undefined> =>
  (await inside.json<Entry[]>("ip", ["-j", "neigh", "show", address, "dev", device]))[0];

async function hostKnows(family: Family, device: string, more: object = {}): Promise<void> {
  const first = await firstPod(conf(family, more), keeper(family, more));
  expect(await bed.node.pings(family.address)).toBe(true);
  const before = { lladdr: macOfPod(first), state: ["REACHABLE"] };
  expect(await entryOf(bed.node, family.address, device)).toMatchObject(before);
  const added = await replacePod(conf(family, more));
  expect(macOfPod(added)).not.toBe(macOfPod(first));
  expect(await entryOf(bed.node, family.address, device)).toMatchObject({ lladdr: macOfPod(added) });
  expect(await bed.node.pings(family.address)).toBe(true);
}

describe.each(FAMILIES)("%s: when ADD returns", (_name, family) => {
  test("the host's neighbour entry on the bridge has the new hardware address", () => hostKnows(family, "cni0"));

  describeWhere(canFilter)("in a VLAN", () => {
    test("the host's neighbour entry on the VLAN's gateway device has the new hardware address", () =>
      hostKnows(family, "cni0.100", { vlan: 100 }));
  });

  test("a host that drops the announcement has the new hardware address too", async () => {
    await firstPod(conf(family), keeper(family));
    expect(await bed.node.pings(family.address)).toBe(true);
    await bed.node.succeed("nft", [
      "add table arp deaf; add chain arp deaf in { type filter hook input priority 0; policy drop; }",
    ]);
    await bed.node.succeed("nft", [
      "add table ip6 deaf; add chain ip6 deaf in { type filter hook input priority 0; }; " +
        "add rule ip6 deaf in icmpv6 type nd-neighbor-advert drop",
    ]);
    const added = await replacePod(conf(family));
    expect(await entryOf(bed.node, family.address, "cni0")).toMatchObject({ lladdr: macOfPod(added) });
  });

  test("an administrator's neighbour entry is kept, and no entry is made if there was none", async () => {
    const known = { lladdr: "02:00:00:00:00:01", state: ["PERMANENT"] };
    await firstPod(conf(family), keeper(family));
    await bed.node.succeed("ip", ["neigh", "replace", family.address, "lladdr", known.lladdr, "dev", "cni0"]);
    await replacePod(conf(family));
    expect(await entryOf(bed.node, family.address, "cni0")).toMatchObject(known);
    await bed.node.succeed("ip", ["neigh", "del", family.address, "dev", "cni0"]);
    await bed.call(OURS, "bridge", "DEL", conf(family), { containerId: "c2", netns: second.path });
    await add(conf(family), "c3", second.path);
    expect(await entryOf(bed.node, family.address, "cni0")).toBeUndefined();
  });

  test("a pod with hairpinMode has a hairpin port, and its own announcement causes no warning", async () => {
    await add(conf(family, { hairpinMode: true }), "c1", bed.podNamespace.path);
    const ports = await bed.node.json<{ ifname: string; hairpin: boolean }[]>("bridge", ["-j", "-d", "link", "show"]);
    expect(ports.map(({ hairpin }) => hairpin)).toEqual([true]);
    const address = (await bed.pod.json<{ address: string }[]>("ip", ["-j", "link", "show", "eth0"]))[0]?.address;
    expect(await bed.node.succeed("dmesg", [])).not.toContain(
      `NA: ${address} advertised our address ${family.address} `,
    );
  });

  test("a machine on the bridge's uplink has the new hardware address", async () => {
    const { namespace, inside: lan } = await bed.anotherPod("lan");
    const configuration = conf(family);
    const first = await firstPod(configuration, keeper(family));
    await bed.node.succeed("ip", [
      ...["link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", namespace.name],
    ]);
    await bed.node.succeed("ip", ["link", "set", "up0", "master", "cni0", "up"]);
    await lan.succeed("ip", ["link", "set", "eth0", "up"]);
    await lan.succeed("ip", ["address", "add", family.other, "dev", "eth0", "nodad"]);
    await eventually(async () => {
      expect(await lan.pings(family.address, 1)).toBe(true);
    });
    expect(await entryOf(lan, family.address, "eth0")).toMatchObject({ lladdr: macOfPod(first) });
    const added = await replacePod(configuration);
    await eventually(async () => {
      expect(await entryOf(lan, family.address, "eth0")).toMatchObject({ lladdr: macOfPod(added) });
    });
    expect(await lan.pings(family.address)).toBe(true);
  });
});
