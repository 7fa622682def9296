import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { formatPrefix, parsePrefix, parseSubnet } from "../ip/prefix.ts";
import type { Link } from "../kernel/link.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import { podEnds } from "../reconcile/pod-ends.ts";
import { hasOtherAddress, type Reserved, renumberingOf } from "./renumbering.ts";

const link = (index: number, name: string, more: Partial<Link>): Link => ({
  ...{ index, name, mtu: 1450, mac: "", isUp: true, isPromiscuous: false, isAllMulticast: false },
  ...{ txQueueLength: 1000, isOperational: true, kind: "veth", masterIndex: 0, peerIndex: 2, alias: "" },
  ...{ vxlan: undefined, bridge: undefined, port: undefined, ...more },
});
const BRIDGE = link(5, "cni0", { kind: "bridge" });
const port = (id: string, more: Partial<Link> = {}) =>
  link(10 + Number(id.slice(1)), `veth${id}`, { masterIndex: 5, alias: `cni:cbr0/${id}/eth0`, ...more });
const reserved = (address: string, containerId: string): Reserved => ({
  ...{ address: parseAddress(address), containerId, ifName: "eth0" },
});
const held = (prefix: string, index = 5) => ({
  ...{ index, prefix: parsePrefix(prefix), scope: RT_SCOPE.universe, isTentative: false, isDuplicate: false },
});
const observed = (links: readonly Link[], addresses: readonly ReturnType<typeof held>[] = []): KernelSnapshot => ({
  ...{ links: [BRIDGE, ...links], addresses, routes: [], neighbours: [], forwarding: [] },
});

interface Numbers {
  readonly subnets?: readonly string[];
  readonly former?: readonly string[];
  readonly peers?: readonly string[];
  readonly bridge?: string | undefined;
  readonly routed?: ReadonlySet<string>;
}

function look(
  { subnets = ["10.244.5.0/24"], former = ["10.244.1.0/24"], peers = [], ...more }: Numbers,
  reservations: readonly Reserved[],
  state: KernelSnapshot,
) {
  const numbers = {
    subnets: subnets.map(parseSubnet),
    former: former.map(parseSubnet),
    peerSubnets: peers.map(parseSubnet),
  };
  const { outside, retained, ...rest } = renumberingOf(
    { network: "cbr0", bridge: "cni0", routed: podEnds("cbr0", "bridge", state).routed, ...more, ...numbers },
    reservations,
    state,
  );
  return {
    outside: outside.map(({ address }) => formatAddress(address)),
    former: rest.former.map(formatPrefix),
    gateways: retained.gateways.map((one) => `${formatPrefix(one.gateway)} ${one.held}`),
    hosts: retained.hosts.map(formatAddress),
  };
}

const TWO = [reserved("10.244.1.7", "c1"), reserved("10.244.5.7", "c2")];

test("a pod in a former subnet keeps gateway and route while no peer has the subnet", () => {
  expect(look({}, TWO, observed([port("c1"), port("c2")]))).toEqual({
    ...{ outside: ["10.244.1.7"], former: ["10.244.1.0/24"], gateways: ["10.244.1.1/24 subnet"], hosts: [] },
  });
});

test.each(["10.244.1.0/24", "10.244.0.0/23", "10.244.1.128/25"])(
  "after a peer gets %s, the pod has its own route and the gateway's address is kept as a single address",
  (taken) => {
    const { gateways, hosts } = look({ peers: [taken] }, TWO, observed([port("c1"), port("c2")]));
    expect({ gateways, hosts }).toEqual({ gateways: ["10.244.1.1/24 single"], hosts: ["10.244.1.7"] });
  },
);

test("a former subnet's gateway is removed with the last link of its pods, despite reservations", () => {
  const { outside, gateways } = look({}, TWO, observed([port("c2")]));
  expect({ outside, gateways }).toEqual({ outside: [], gateways: ["10.244.1.1/24 none"] });
});

test("ignores links of other networks and addresses reserved by hand", () => {
  const others = [port("c1", { alias: "cni:other/c1/eth0" }), port("c3", { alias: "cni:cbr0/c3/eth0" })];
  const byHand = { ...reserved("10.244.1.9", ""), ifName: undefined };
  expect(look({}, [...TWO, byHand], observed(others)).outside).toEqual([]);
});

test("while a port of the bridge has no mark, a reservation may belong to its pod", () => {
  expect(look({}, TWO, observed([port("c1", { alias: "" })])).outside).toEqual(["10.244.1.7"]);
  expect(look({}, TWO, observed([port("c1", { alias: "", masterIndex: 6 })])).outside).toEqual([]);
});

test("recognises an unrecorded former subnet by the gateway's address and a pod in the subnet", () => {
  const state = observed([port("c1")], [held("10.244.1.1/24"), held("10.244.5.1/24"), held("10.9.9.1/24")]);
  expect(look({ former: [] }, TWO, state)).toMatchObject({
    ...{ former: ["10.244.1.0/24"], gateways: ["10.244.1.1/24 subnet"] },
  });
  // It is not the first address, so it is not a gateway of host-local.
  expect(look({ former: [] }, TWO, observed([port("c1")], [held("10.244.1.9/24")])).former).toEqual([]);
});

test("if the gateway's subnet is unknown, the pod has its own route", () => {
  expect(look({ former: [] }, TWO, observed([port("c1")]))).toMatchObject({ gateways: [], hosts: ["10.244.1.7"] });
});

test("if a subnet shrinks, only pods outside the new one get their own routes", () => {
  const numbers = { subnets: ["10.244.0.0/24"], former: ["10.244.0.0/23"] };
  const pods = [reserved("10.244.0.7", "c1"), reserved("10.244.1.7", "c2")];
  expect(look(numbers, pods, observed([port("c1"), port("c2")]))).toMatchObject({
    ...{ outside: ["10.244.1.7"], gateways: ["10.244.0.1/23 none"], hosts: ["10.244.1.7"] },
  });
});

test("reports pods with their own links, which need no gateway on the bridge", () => {
  const end = port("c1", { masterIndex: 0 });
  expect(look({ bridge: undefined }, TWO, observed([end]))).toMatchObject({
    ...{ outside: ["10.244.1.7"], gateways: ["10.244.1.1/24 none"], hosts: [] },
  });
  expect(look({}, TWO, observed([end], [held("10.244.1.1/32", end.index)])).gateways).toEqual(["10.244.1.1/24 none"]);
  // It has lost its address, but earlier passes have recorded it.
  const peers = ["10.244.1.0/24"];
  expect(look({ peers, routed: new Set([end.alias]) }, TWO, observed([end]))).toMatchObject({
    ...{ outside: ["10.244.1.7"], gateways: ["10.244.1.1/24 none"], hosts: [] },
  });
});

test("hasOtherAddress is true only for an address on the bridge that is not a current gateway", () => {
  const numbers = { bridge: "cni0", subnets: [parseSubnet("10.244.5.0/24")] };
  expect(hasOtherAddress(numbers, observed([], [held("10.244.5.1/24"), held("192.0.2.1/24", 2)]))).toBe(false);
  expect(hasOtherAddress(numbers, observed([], [held("10.244.1.1/24")]))).toBe(true);
});
