import { describe, expect, test } from "vitest";
import { RTPROT_WEFT, VTEP_ALIAS } from "../footprint.ts";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { LinkAddress } from "../kernel/address.ts";
import type { Link } from "../kernel/link.ts";
import { addRoute, describeRoute, type ObservedRoute } from "../kernel/route.ts";
import { type KernelSnapshot, parseSnapshot } from "../kernel/snapshot.ts";
import type { Vtep } from "../kernel/vtep.ts";
import { vtepDevice } from "../kernel/vtep-device.ts";
import { type DataPath, planDataPath } from "./data-path.ts";

const UNDERLAY = 2;
const VTEP = 7;

const vtep: Vtep = {
  name: "flannel.1",
  vni: 1,
  port: 8472,
  local: parseAddress("192.0.2.1"),
  underlayIndex: UNDERLAY,
  mac: "0a:00:00:00:00:01",
  mtu: 1450,
  addresses: [parsePrefix("10.244.0.0/32")],
};

function link(overrides: Partial<Link> = {}): Link {
  return {
    ...{
      index: VTEP,
      name: "flannel.1",
      mtu: 1450,
      mac: vtep.mac,
      isUp: true,
      isPromiscuous: false,
      isAllMulticast: false,
      txQueueLength: 1000,
      isOperational: true,
    },
    ...{ kind: "vxlan", masterIndex: 0, peerIndex: 0, alias: VTEP_ALIAS, port: undefined, bridge: undefined },
    vxlan: { vni: 1, port: 8472, link: UNDERLAY, local: Uint8Array.of(192, 0, 2, 1), learning: 0 },
    ...overrides,
  };
}

const address: LinkAddress = {
  index: VTEP,
  prefix: parsePrefix("10.244.0.0/32"),
  scope: 0,
  isTentative: false,
  isDuplicate: false,
};

function route(text: string, gateway: string, overrides: Partial<ObservedRoute> = {}): ObservedRoute {
  return {
    ...{ destination: parsePrefix(text), gateway: parseAddress(gateway), outputIndex: VTEP, protocol: RTPROT_WEFT },
    ...{ table: 254, scope: 0, type: 1, isMultipath: false, isOnlink: true },
    ...overrides,
  };
}

/** One peer behind the VTEP. */
const desired: DataPath = {
  devices: [vtepDevice(vtep)],
  neighbours: [{ device: "flannel.1", address: parseAddress("10.244.1.0"), mac: "0a:00:00:00:00:02" }],
  forwarding: [{ device: "flannel.1", mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") }],
  routes: [
    { destination: parsePrefix("10.244.1.0/24"), gateway: parseAddress("10.244.1.0"), by: { device: "flannel.1" } },
  ],
};

const neighbour = { index: VTEP, address: parseAddress("10.244.1.0"), mac: "0a:00:00:00:00:02", isPermanent: true };
const forwarding = { index: VTEP, mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2"), isPlain: true };
const peerRoute = route("10.244.1.0/24", "10.244.1.0");

const settled: KernelSnapshot = {
  links: [link()],
  addresses: [address],
  neighbours: [neighbour],
  forwarding: [forwarding],
  routes: [peerRoute],
};

const nothing: DataPath = { devices: [], neighbours: [], forwarding: [], routes: [] };
const texts = (want: DataPath, observed: KernelSnapshot, options = {}) =>
  planDataPath(want, observed, options).requests.map(({ text }) => text);

test("a snapshot of a kernel without IPv6, which dumps IPv4 routes twice, has them once", () => {
  const { type, body } = addRoute(peerRoute);
  const message = { type, flags: 0, sequence: 1, portId: 0, payload: body };
  expect(parseSnapshot([[], [], [message], [message]]).routes.map(describeRoute)).toEqual([describeRoute(peerRoute)]);
});

test("plans nothing if the kernel has the desired state", () => {
  expect(planDataPath(desired, settled)).toEqual({ requests: [], isComplete: true, conflicts: [] });
});

describe("the device", () => {
  test("is created first; the rest is planned when its index is known", () => {
    const plan = planDataPath(desired, { ...settled, links: [] });
    expect(plan.isComplete).toBe(false);
    expect(plan.requests.map(({ text }) => text)).toEqual([
      "ip link add flannel.1 address 0a:00:00:00:00:01 mtu 1450 type vxlan id 1 dstport 8472 local 192.0.2.1 dev index 2 nolearning",
    ]);
  });

  test.each([
    ["its MAC changed", { mac: "0a:00:00:00:00:99" }],
    ["its MTU changed", { mtu: 1400 }],
    ["it is down", { isUp: false }],
    ["it has no alias yet", { alias: "" }],
    [
      "it learns addresses",
      { vxlan: { vni: 1, port: 8472, link: UNDERLAY, local: Uint8Array.of(192, 0, 2, 1), learning: 1 } },
    ],
    [
      "its local address changed",
      { vxlan: { vni: 1, port: 8472, link: UNDERLAY, local: Uint8Array.of(192, 0, 2, 9), learning: 0 } },
    ],
  ])("is changed in place when %s", (_name, overrides) => {
    expect(texts(desired, { ...settled, links: [link(overrides)] })).toEqual([
      expect.stringMatching(/^ip link set flannel\.1 /),
    ]);
  });

  test("loses its neighbours when its hardware address changes, so the rest is planned afterwards", () => {
    expect(planDataPath(desired, { ...settled, links: [link({ mac: "0a:00:00:00:00:99" })] }).isComplete).toBe(false);
    expect(planDataPath(desired, { ...settled, links: [link({ mtu: 1400 })] }).isComplete).toBe(true);
  });

  test.each([
    ["another VNI", { vxlan: { vni: 2, port: 8472, link: UNDERLAY, local: Uint8Array.of(192, 0, 2, 1), learning: 0 } }],
    [
      "another port",
      { vxlan: { vni: 1, port: 4789, link: UNDERLAY, local: Uint8Array.of(192, 0, 2, 1), learning: 0 } },
    ],
  ])("is recreated when it has %s", (_name, overrides) => {
    expect(texts(desired, { ...settled, links: [link(overrides)] })).toEqual([
      "ip link del index 7",
      expect.stringMatching(/^ip link add flannel\.1 /),
    ]);
  });

  test("of another kind with this name is another program's: reported as a conflict and not changed", () => {
    const plan = planDataPath(desired, { ...settled, links: [link({ kind: "bridge", vxlan: undefined })] });
    expect(plan.requests).toEqual([]);
    expect(plan.conflicts).toEqual([expect.stringContaining("a device flannel.1 exists that is not a VXLAN device")]);
  });

  test("is removed if it is ours and unused; another program's is not", () => {
    const observed = { ...settled, addresses: [], neighbours: [], forwarding: [], routes: [] };
    expect(texts(nothing, { ...observed, links: [link(), link({ index: 8, name: "vxlan9", alias: "" })] })).toEqual([
      "ip link del index 7",
    ]);
  });
});

test("a new peer gets forwarding entry and neighbour before its route", () => {
  expect(texts(desired, { ...settled, neighbours: [], forwarding: [], routes: [] })).toEqual([
    "bridge fdb replace 0a:00:00:00:00:02 dev index 7 dst 192.0.2.2 self permanent",
    "ip neigh replace 10.244.1.0 lladdr 0a:00:00:00:00:02 dev index 7 nud permanent",
    "ip route add 10.244.1.0/24 via 10.244.1.0 dev index 7 onlink proto 119",
  ]);
});

test("removes a peer's route before its neighbour and forwarding entry", () => {
  expect(texts({ ...nothing, devices: [vtepDevice(vtep)] }, settled)).toEqual([
    "ip route del 10.244.1.0/24 via 10.244.1.0 dev index 7 proto 119",
    "bridge fdb del 0a:00:00:00:00:02 dev index 7 self",
    "ip neigh del 10.244.1.0 dev index 7",
  ]);
});

test("programs a peer's new VTEP before it removes the old one", () => {
  const moved: DataPath = {
    ...desired,
    neighbours: desired.neighbours.map((entry) => ({ ...entry, mac: "0a:00:00:00:00:03" })),
    forwarding: desired.forwarding.map((entry) => ({ ...entry, mac: "0a:00:00:00:00:03" })),
  };
  expect(texts(moved, settled)).toEqual([
    "bridge fdb replace 0a:00:00:00:00:03 dev index 7 dst 192.0.2.2 self permanent",
    "ip neigh replace 10.244.1.0 lladdr 0a:00:00:00:00:03 dev index 7 nud permanent",
    "bridge fdb del 0a:00:00:00:00:02 dev index 7 self",
  ]);
});

describe("repairs an entry that another program changed", () => {
  const neighbourText = "ip neigh replace 10.244.1.0 lladdr 0a:00:00:00:00:02 dev index 7 nud permanent";
  const forwardingText = "bridge fdb replace 0a:00:00:00:00:02 dev index 7 dst 192.0.2.2 self permanent";
  const routeText = "ip route replace 10.244.1.0/24 via 10.244.1.0 dev index 7 onlink proto 119";

  test.each<[string, Partial<KernelSnapshot>, string]>([
    ["a neighbour that ages", { neighbours: [{ ...neighbour, isPermanent: false }] }, neighbourText],
    ["a neighbour's hardware address", { neighbours: [{ ...neighbour, mac: "0a:00:00:00:00:66" }] }, neighbourText],
    [
      "a forwarding entry that ages or uses another port",
      { forwarding: [{ ...forwarding, isPlain: false }] },
      forwardingText,
    ],
    [
      "a forwarding entry's node",
      { forwarding: [{ ...forwarding, destination: parseAddress("192.0.2.6") }] },
      forwardingText,
    ],
    ["a route's gateway", { routes: [{ ...peerRoute, gateway: parseAddress("10.244.6.0") }] }, routeText],
    ["a route's MTU", { routes: [{ ...peerRoute, mtu: 900 }] }, routeText],
    ["a route's source", { routes: [{ ...peerRoute, preferredSource: parseAddress("192.0.2.1") }] }, routeText],
    ["a route with several next hops", { routes: [{ ...peerRoute, isMultipath: true }] }, routeText],
  ])("%s", (_name, damage, repair) => {
    expect(texts(desired, { ...settled, ...damage })).toEqual([repair]);
  });
});

test("with keep, removes nothing", () => {
  expect(texts({ ...nothing, devices: [vtepDevice(vtep)] }, settled, { keep: true })).toEqual([]);
});

test("with keep, reports another device of this name as a conflict and keeps it with its peers", () => {
  const plan = planDataPath({ ...desired, devices: [vtepDevice({ ...vtep, port: 4789 })] }, settled, {
    keep: true,
  });
  expect(plan).toEqual({
    requests: [],
    isComplete: true,
    conflicts: [
      expect.stringContaining("a device flannel.1 exists that is not a VXLAN device with VNI 1 and port 4789"),
    ],
  });
});

describe("routes of other programs", () => {
  const hostGw: DataPath = {
    ...nothing,
    routes: [
      { destination: parsePrefix("10.244.1.0/24"), gateway: parseAddress("192.0.2.2"), by: { index: UNDERLAY } },
    ],
  };
  const bare: KernelSnapshot = { links: [], addresses: [], neighbours: [], forwarding: [], routes: [] };
  const foreign = (gateway: string, overrides = {}) =>
    route("10.244.1.0/24", gateway, { protocol: 4, outputIndex: UNDERLAY, isOnlink: false, ...overrides });

  test("to the same subnet by another next hop are kept and reported as a conflict", () => {
    const plan = planDataPath(hostGw, { ...bare, routes: [foreign("192.0.2.9")] });
    expect(plan.requests).toEqual([]);
    expect(plan.conflicts).toEqual([expect.stringContaining('"10.244.1.0/24 via 192.0.2.9 dev index 2 proto 4')]);
  });

  test("with the same next hop need no route of ours", () => {
    expect(planDataPath(hostGw, { ...bare, routes: [foreign("192.0.2.2")] })).toMatchObject({
      requests: [],
      conflicts: [],
    });
  });

  test("from flanneld with the same next hop are adopted in one step", () => {
    const plan = (overrides: object) =>
      planDataPath(hostGw, { ...bare, routes: [foreign("192.0.2.2", overrides)] }, { adopt: true });
    expect(plan({ protocol: 3 }).requests.map(({ text }) => text)).toEqual([
      "ip route replace 10.244.1.0/24 via 192.0.2.2 dev index 2 proto 119",
    ]);
    expect(plan({ protocol: 4 }).requests).toEqual([]);
  });

  test("are not replaced together with a changed route of ours to the same subnet", () => {
    const changed = route("10.244.1.0/24", "192.0.2.6", { outputIndex: UNDERLAY, isOnlink: false });
    const plan = planDataPath(hostGw, { ...bare, routes: [foreign("192.0.2.9"), changed] });
    expect(plan.requests.map(({ text }) => text)).toEqual([
      "ip route del 10.244.1.0/24 via 192.0.2.6 dev index 2 proto 119",
    ]);
    expect(plan.conflicts).toHaveLength(1);
  });

  test("with another metric do not conflict", () => {
    expect(texts(hostGw, { ...bare, routes: [foreign("192.0.2.9", { priority: 50 })] })).toEqual([
      "ip route add 10.244.1.0/24 via 192.0.2.2 dev index 2 proto 119",
    ]);
  });

  test("through our own device are replaced, whatever their protocol", () => {
    expect(texts(desired, { ...settled, routes: [route("10.244.1.0/24", "10.244.1.0", { protocol: 3 })] })).toEqual([
      "ip route replace 10.244.1.0/24 via 10.244.1.0 dev index 7 onlink proto 119",
    ]);
  });

  test("are never removed; ours with another metric are", () => {
    const stale = route("10.244.9.0/24", "192.0.2.9", { outputIndex: UNDERLAY, priority: 5 });
    expect(texts(nothing, { ...bare, routes: [foreign("192.0.2.2"), stale] })).toEqual([
      "ip route del 10.244.9.0/24 via 192.0.2.9 dev index 2 proto 119 metric 5",
    ]);
  });

  test("recognises IPv6 routes with the kernel's default metric", () => {
    const v6: DataPath = {
      ...nothing,
      routes: [
        { destination: parsePrefix("fd00:1::/64"), gateway: parseAddress("2001:db8::2"), by: { index: UNDERLAY } },
      ],
    };
    const held = route("fd00:1::/64", "2001:db8::2", { outputIndex: UNDERLAY, priority: 1024, isOnlink: false });
    expect(texts(v6, { ...bare, routes: [held] })).toEqual([]);
  });
});

test("removes unwanted addresses of the VTEP, and keeps link-local ones", () => {
  const old: LinkAddress = { ...address, prefix: parsePrefix("10.244.5.0/32") };
  const local: LinkAddress = { ...address, prefix: parsePrefix("fe80::1/64"), scope: 253 };
  expect(texts(desired, { ...settled, addresses: [address, old, local] })).toEqual([
    "ip address del 10.244.5.0/32 dev index 7",
  ]);
});

test("removes a VTEP's old address before it adds a route by it: the subnet may now be a peer's", () => {
  const moved = { ...desired, devices: [vtepDevice({ ...vtep, addresses: [parsePrefix("10.244.5.0/32")] })] };
  const before = { ...settled, addresses: [{ ...address, prefix: parsePrefix("10.244.1.0/32") }], routes: [] };
  expect(texts(moved, before)).toEqual([
    "ip address add 10.244.5.0/32 dev index 7",
    "ip address del 10.244.1.0/32 dev index 7",
    "ip route add 10.244.1.0/24 via 10.244.1.0 dev index 7 onlink proto 119",
  ]);
});
