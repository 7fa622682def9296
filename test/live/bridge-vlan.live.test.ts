/** bridge's VLANs on a real kernel: compared with the reference plugin, and tested by what pods reach. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import { type CallOptions, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const canFilter = kernelCan("VLAN filtering of bridges", "ip link add probe0 type bridge vlan_filtering 1");

const DUAL = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };
const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "cni0", ipam: DUAL },
  ...more,
});

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const bridge = (verb: string, input: unknown, options: CallOptions = {}) =>
  bed.call(OURS, "bridge", verb, input, options);

interface PortVlans {
  readonly ifname: string;
  readonly vlans: readonly { readonly vlan: number; readonly flags?: readonly string[] }[];
}
const vlans = (of = bed) => of.node.json<PortVlans[]>("bridge", ["-j", "vlan", "show"]);
const vlansOf = async (port: string) => (await vlans()).find(({ ifname }) => ifname === port)?.vlans;

describeWhere(!canFilter)("a kernel whose bridges cannot filter VLANs", () => {
  test.each([{ vlan: 100 }, { vlanTrunk: [{ id: 200 }] }])("fails ADD for %j, and nothing is left", async (more) => {
    const before = await bed.state();
    expect(await bridge("ADD", conf(more))).toMatchObject({
      status: 1,
      json: { code: 2, msg: expect.stringMatching(/vlan_filtering.*EOPNOTSUPP.*vlan and vlanTrunk need a kernel/) },
    });
    expect(await bed.state()).toEqual(before);
  });

  test("fails STATUS once a bridge exists to test it on", async () => {
    expect(await bridge("STATUS", conf({ vlan: 100 }))).toMatchObject({ status: 0 });
    await bed.node.succeed("ip", ["link", "add", "cni0", "type", "bridge"]);
    expect(await bridge("STATUS", conf())).toMatchObject({ status: 0 });
    expect(await bridge("STATUS", conf({ vlan: 100 }))).toMatchObject({ status: 1, json: { code: 50 } });
    expect(await bridge("ADD", conf({ vlan: 100 }))).toMatchObject({ status: 1, json: { code: 2 } });
  });
});

describeWhere(canFilter)("VLANs", () => {
  interface Attached {
    readonly inside: Inside;
    readonly options: CallOptions;
    readonly configuration: object;
    readonly addresses: readonly string[];
    readonly port: string;
  }

  async function attach(label: string, more: object = {}, bin = OURS): Promise<Attached> {
    const { namespace, inside } = await bed.anotherPod(label);
    const options = { containerId: label, netns: namespace.path };
    const configuration = conf(more);
    const { status, json } = await bed.call(bin, "bridge", "ADD", configuration, options);
    expect(status === 0 ? 0 : json).toBe(0);
    const addresses = (json.ips ?? []).map(({ address }: { address: string }) => address.split("/")[0]);
    return {
      ...{ inside, options, configuration: { ...configuration, prevResult: json }, addresses },
      port: json.interfaces[1].name,
    };
  }

  async function reaches(from: Attached, to: Attached): Promise<boolean[]> {
    return Promise.all(to.addresses.map((address) => from.inside.pings(address, 1)));
  }
  const BOTH = [true, true];
  const NEITHER = [false, false];

  describe("are the same as the reference's", () => {
    const CONFIGURATIONS: Record<string, object> = {
      "one VLAN": { vlan: 100 },
      "one VLAN and the default": { vlan: 100, preserveDefaultVlan: true },
      "the default VLAN": { vlan: 1 },
      "a trunk": { vlanTrunk: [{ id: 200 }, { minID: 300, maxID: 302 }] },
      "a trunk and the default": { vlanTrunk: [{ id: 200 }], preserveDefaultVlan: true },
      "a trunk and the VLAN of its untagged frames": { vlan: 100, vlanTrunk: [{ minID: 200, maxID: 202 }] },
      "an empty trunk": { vlanTrunk: [] },
      "no VLAN, without the default": { vlan: 0, preserveDefaultVlan: false },
      "a gateway": { vlan: 100, isDefaultGateway: true, mtu: 1400 },
      "a gateway and the default": { vlan: 100, isGateway: true, preserveDefaultVlan: true },
      "a trunk's gateway": { vlanTrunk: [{ id: 200 }], isGateway: true },
    };

    async function observe(bin: string, configuration: object) {
      const own = await PluginBed.make();
      try {
        const added = await own.call(bin, "bridge", "ADD", configuration);
        const links = await own.node.json<
          { ifname: string; mtu: number; flags: string[]; linkinfo?: { info_kind?: string; info_data?: object } }[]
        >("ip", ["-j", "-d", "link", "show"]);
        const addresses = await own.node.json<
          { ifname: string; addr_info: { local: string; prefixlen: number; scope: string }[] }[]
        >("ip", ["-j", "address", "show"]);
        const state = {
          added,
          links: links.map(({ ifname, mtu, flags, linkinfo }) => ({
            ...{ ifname, mtu, up: flags.includes("UP"), kind: linkinfo?.info_kind },
            filtering: (linkinfo?.info_data as { vlan_filtering?: number } | undefined)?.vlan_filtering,
          })),
          addresses: addresses.map(({ ifname, addr_info }) => ({
            ifname,
            held: addr_info.filter(({ scope }) => scope === "global").map(({ local, prefixlen }) => [local, prefixlen]),
          })),
          vlans: await vlans(own),
          deleted: await own.call(bin, "bridge", "DEL", { ...configuration, prevResult: added.json }),
          left: (await own.node.json<{ ifname: string }[]>("ip", ["-j", "link", "show"])).map(({ ifname }) => ifname),
        };
        return normalised(state);
      } finally {
        await own.close();
      }
    }

    /** Ignores the order of creation and random names. */
    function normalised(state: object): unknown {
      const text = JSON.stringify(state, (key, value) => (key === "output" ? undefined : value))
        .replace(/"([0-9a-f]{2}:){5}[0-9a-f]{2}"/g, '"MAC"')
        .replace(/veth[0-9a-f]{8}/g, "vethX")
        .replace(/\/run\/netns\/[^"]*/g, "NETNS");
      return JSON.parse(text, (key, value) =>
        Array.isArray(value) && ["links", "addresses", "vlans", "left"].includes(key)
          ? value.map((item) => JSON.stringify(item)).sort()
          : value,
      );
    }

    test.each(Object.entries(CONFIGURATIONS))("%s", async (_name, more) => {
      expect(await observe(OURS, conf(more))).toEqual(await observe(REFERENCE, conf(more)));
    });

    test("differ only if the trunk includes the untagged VLAN: it stays untagged", async () => {
      const { port } = await attach("a", { vlan: 100, vlanTrunk: [{ minID: 99, maxID: 101 }] });
      expect(await vlansOf(port)).toEqual([
        { vlan: 99 },
        { vlan: 100, flags: ["PVID", "Egress Untagged"] },
        { vlan: 101 },
      ]);
    });
  });

  test("separate pods from each other, and each VLAN has its gateway", async () => {
    const own = { isDefaultGateway: true, vlan: 100 };
    const [first, second] = [await attach("a", own), await attach("b", own)];
    const other = await attach("c", {
      ...{ isDefaultGateway: true, vlan: 200, name: "other" },
      ipam: { type: "host-local", ranges: [[{ subnet: "10.23.0.0/24" }], [{ subnet: "fd00:23::/64" }]] },
    });
    const plain = await attach("d");
    expect(await reaches(first, second)).toEqual(BOTH);
    expect(await reaches(plain, first)).toEqual(NEITHER);
    for (const gateway of ["10.22.0.1", "fd00:22::1"]) expect(await first.inside.pings(gateway), gateway).toBe(true);
    for (const gateway of ["10.23.0.1", "fd00:23::1"]) expect(await other.inside.pings(gateway), gateway).toBe(true);
    // Not on the bridge, but through the node, which routes between the two.
    expect(await reaches(first, other)).toEqual(BOTH);
    await bed.node.succeed("sysctl", ["-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"]);
    expect(await reaches(first, other)).toEqual(NEITHER);
    expect(await reaches(first, second)).toEqual(BOTH);
  });

  test("reach a trunk's pod with their tags", async () => {
    const [access, other] = [await attach("a", { vlan: 100 }), await attach("b", { vlan: 200 })];
    const trunk = await attach("c", { vlanTrunk: [{ minID: 100, maxID: 110 }], ipam: {} });
    await trunk.inside.succeed("ip", ["link", "add", "link", "eth0", "name", "eth0.100", "type", "vlan", "id", "100"]);
    await trunk.inside.succeed("ip", ["link", "set", "eth0.100", "up"]);
    await trunk.inside.succeed("ip", ["address", "add", "10.22.0.100/24", "dev", "eth0.100"]);
    expect(await trunk.inside.pings(access.addresses[0] ?? "")).toBe(true);
    expect(await trunk.inside.pings(other.addresses[0] ?? "", 1)).toBe(false);
  });

  test("are filtered on a bridge that existed before, and its other pods still reach each other", async () => {
    const [first, second] = [await attach("a"), await attach("b")];
    expect(await reaches(first, second)).toEqual(BOTH);
    const own = await attach("c", { vlan: 100 });
    expect(await reaches(first, second)).toEqual(BOTH);
    expect(await reaches(own, second)).toEqual(NEITHER);
  });

  test.each([
    ["no damage", "true", 0],
    ["a VLAN removed from the port", "bridge vlan del dev PORT vid 100", 1],
    ["a tag on the port's frames", "bridge vlan add dev PORT vid 100", 1],
    ["a removed VLAN of the trunk", "bridge vlan del dev PORT vid 202", 1],
    ["VLAN filtering switched off", "ip link set cni0 type bridge vlan_filtering 0", 1],
    ["a missing gateway device", "ip link del cni0.100", 1],
    ["a gateway device that is down", "ip link set cni0.100 down", 1],
    ["a missing gateway address", "ip address flush dev cni0.100", 1],
    ["an additional VLAN", "bridge vlan add dev PORT vid 300", 0],
  ])("CHECK returns the right status with %s", async (_name, command, status) => {
    const pod = await attach("a", { vlan: 100, vlanTrunk: [{ minID: 200, maxID: 202 }], isGateway: true });
    await bed.node.succeed("sh", ["-c", command.replace("PORT", pod.port)]);
    expect(await bridge("CHECK", pod.configuration, pod.options)).toMatchObject({ status });
  });

  test("and their gateway are removed after a failed ADD unless other pods use them", async () => {
    const refused = conf({
      ...{ vlan: 100, isGateway: true },
      ipam: { ...DUAL, routes: [{ dst: "10.99.0.0/16", gw: "198.51.100.9" }] },
    });
    const empty = await bed.state();
    expect(await bridge("ADD", refused)).toMatchObject({ status: 1 });
    expect(await bed.state()).toEqual(empty);
    await attach("a", { vlan: 100, isGateway: true });
    const before = await bed.state();
    expect(await bridge("ADD", refused)).toMatchObject({ status: 1 });
    expect(await bed.state()).toEqual(before);
  });

  test("share one gateway among many concurrent ADDs of weft and the reference", async () => {
    const configuration = conf({ vlan: 100, isDefaultGateway: true });
    const theirs = await attach("theirs", { vlan: 100, isDefaultGateway: true }, REFERENCE);
    const pods = await bed.emptyPods(8);
    const answers = await Promise.all(
      pods.map(({ path }, at) => bridge("ADD", configuration, { containerId: `m${at}`, netns: path })),
    );
    expect(answers.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(8).fill(0));
    expect((await vlans()).filter(({ vlans: held }) => held.some(({ vlan }) => vlan === 100))).toHaveLength(10);
    const gateways = answers.map(({ json }) => json.interfaces[3]);
    expect(gateways).toEqual(Array(8).fill({ name: "cni0.100", mac: expect.any(String) }));
    expect(new Set(gateways.map(({ mac }) => mac)).size).toBe(1);
    expect(await bridge("DEL", theirs.configuration, theirs.options)).toMatchObject({ status: 0 });
    expect(await bed.node.succeed("ip", ["address", "show", "dev", "cni0.100"])).toContain("inet 10.22.0.1/24");
  });

  test("get one gateway from many concurrent ADDs", async () => {
    const configuration = conf({ vlan: 100, isDefaultGateway: true });
    const pods = await bed.emptyPods(8);
    const answers = await Promise.all(
      pods.map(({ path }, at) => bridge("ADD", configuration, { containerId: `m${at}`, netns: path })),
    );
    expect(answers.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(8).fill(0));
    expect((await vlans()).filter(({ vlans: held }) => held.some(({ vlan }) => vlan === 100))).toHaveLength(9);
  });
});
