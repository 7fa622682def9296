import { expect, test } from "vitest";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { parsePredecessor } from "../../sources/predecessor.ts";
import { type ConflistSettings, formatConflist } from "./conflist.ts";

const settings: ConflistSettings = {
  subnets: [parseSubnet("10.244.1.0/24")],
  networks: [parseSubnet("10.244.0.0/16"), parseSubnet("fd00:10:244::/56")],
  mtu: 1450,
  executable: "vxlan",
  runDir: "/run/weft",
};

test("a conflist of one family has bridge with host-local, then the backend's plugin", () => {
  expect(JSON.parse(formatConflist(settings))).toEqual({
    cniVersion: "1.0.0",
    cniVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    name: "cbr0",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        mtu: 1450,
        isDefaultGateway: true,
        hairpinMode: true,
        ipMasq: false,
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: "10.244.1.0/24" }]],
          routes: [{ dst: "10.244.0.0/16" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
      { type: "bandwidth", capabilities: { bandwidth: true } },
      { type: "vxlan", runDir: "/run/weft" },
    ],
  });
});

test("with both families, each has a range set and a route", () => {
  const { plugins } = JSON.parse(
    formatConflist({
      ...settings,
      executable: "host-gw",
      subnets: [...settings.subnets, parseSubnet("fd00:10:244:1::/64")],
    }),
  );
  expect(plugins[0].ipam).toEqual({
    type: "host-local",
    ranges: [[{ subnet: "10.244.1.0/24" }], [{ subnet: "fd00:10:244:1::/64" }]],
    routes: [{ dst: "10.244.0.0/16" }, { dst: "fd00:10:244::/56" }],
  });
  expect(plugins.at(-1).type).toBe("host-gw");
});

test("several subnets of a family form one range set, from which a pod gets one address", () => {
  const subnets = ["10.244.1.0/24", "fd00:10:244:1::/64", "10.244.9.0/24"].map(parseSubnet);
  const { plugins } = JSON.parse(formatConflist({ ...settings, subnets }));
  expect(plugins[0].ipam.ranges).toEqual([
    [{ subnet: "10.244.1.0/24" }, { subnet: "10.244.9.0/24" }],
    [{ subnet: "fd00:10:244:1::/64" }],
  ]);
});

test("with ptp there is no bridge, and the conflist has a default route", () => {
  const { plugins } = JSON.parse(formatConflist({ ...settings, attach: "ptp" }));
  expect(plugins[0]).toEqual({
    ...{ type: "ptp", mtu: 1450, ipMasq: false },
    ipam: {
      type: "host-local",
      ranges: [[{ subnet: "10.244.1.0/24" }]],
      routes: [{ dst: "10.244.0.0/16" }, { dst: "0.0.0.0/0" }],
    },
  });
});

test.each(["bridge", "ptp"] as const)(
  "%s asks weftd for policies and guards senders, if the settings say so",
  (attach) => {
    const networkPolicy = { socket: "/run/weft/policy.sock", fail: "closed" } as const;
    const { plugins } = JSON.parse(formatConflist({ ...settings, attach, networkPolicy, guardSenders: true }));
    expect(plugins[0]).toMatchObject({ type: attach, networkPolicy, guardSenders: true });
  },
);

test("equal settings always yield the same text", () => {
  expect(formatConflist({ ...settings })).toBe(formatConflist(settings));
});

/** flannel's conflist, with additions by an operator. */
const flannels = (plugin: object = {}, others: readonly object[] = []) =>
  JSON.stringify({ name: "podnet", cniVersion: "0.3.1", plugins: [{ type: "flannel", ...plugin }, ...others] });

const takenOver = (text: string, more: object = {}) => {
  const predecessor = parsePredecessor("10-flannel.conflist", text);
  if (typeof predecessor !== "object") throw new Error(`not a predecessor: ${predecessor}`);
  return JSON.parse(formatConflist({ ...settings, ...more, predecessor }));
};

test("keeps the name, the bridge, the data directory and the chained plugins of flannel's network", () => {
  const delegate = { Bridge: "br0", hairpinMode: false, ipMasq: true, promiscMode: true };
  const ipam = { dataDir: "/data/cni", routes: [{ dst: "192.0.2.0/24" }] };
  const tuning = { type: "tuning", sysctl: { "net.core.somaxconn": "500" } };
  const portmap = { type: "portmap", snat: false, capabilities: { portMappings: true } };
  const { name, plugins } = takenOver(flannels({ delegate, ipam }, [portmap, tuning]));
  expect(name).toBe("podnet");
  expect(plugins[0]).toEqual({
    type: "bridge",
    bridge: "br0",
    mtu: 1450,
    isDefaultGateway: true,
    hairpinMode: false,
    promiscMode: true,
    ipMasq: false,
    ipam: {
      type: "host-local",
      dataDir: "/data/cni",
      ranges: [[{ subnet: "10.244.1.0/24" }]],
      routes: [{ dst: "192.0.2.0/24" }, { dst: "10.244.0.0/16" }],
    },
  });
  expect(plugins.slice(1)).toEqual([
    portmap,
    tuning,
    { type: "bandwidth", capabilities: { bandwidth: true } },
    { type: "vxlan", runDir: "/run/weft", flannelDataDir: "/var/lib/cni/flannel" },
  ]);
});

test.each([
  [1400, 1400],
  [9000, 1450],
])("with an MTU of %i in flannel's network and 1450 in weft's, uses %i", (mtu, taken) => {
  expect(takenOver(flannels({ delegate: { mtu } })).plugins[0].mtu).toBe(taken);
});

test.each([
  ["another network", JSON.stringify({ name: "x", plugins: [{ type: "bridge" }] }), undefined],
  ["no JSON", "{", undefined],
  ["an empty file", "", undefined],
  ["flannel without a bridge", flannels({ delegate: { type: "ipvlan" } }), /10-flannel.conflist: .* with ipvlan/],
  ["flannel's with a mistake", flannels({ delegate: [] }), /10-flannel.conflist: .*delegate: expected an object/],
])("does not take over %s", (_name, text, problem) => {
  const found = parsePredecessor("10-flannel.conflist", text);
  if (problem === undefined) expect(found).toBeUndefined();
  else expect(found).toMatch(problem);
});
