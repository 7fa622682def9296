/** Tests the cases that test/live/status-explain does not provoke: faults of a pod's own link, and unknown facts. */
import { describe, expect, test } from "vitest";
import { parseNodeTable } from "../../pkg/backend/node-table.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { attachmentOf } from "../node/networks.ts";
import { podKinds } from "../node/pod-kinds.ts";
import type { Knowledge } from "./knowledge.ts";
import { explainWay } from "./way.ts";

const POD = parseAddress("10.244.1.5");
const OUTSIDE = parseAddress("203.0.113.9");

/** The table of a node with the pod subnet 10.244.1.0/24. */
const TABLE = parseNodeTable(
  new TextEncoder().encode(
    JSON.stringify({
      ...{ format: 1, bootId: "boot", generation: 1, vtepMacs: {}, peers: [] },
      netConf: JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: "host-gw" } }),
      node: {
        ...{ name: "n1", subnets: ["10.244.1.0/24"] },
        underlay: { index: 2, mtu: 1500, local: ["192.0.2.1"], networks: ["192.0.2.1/24"] },
      },
    }),
  ),
);

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mtu: 1500, mac: "", isUp: true, isPromiscuous: false, isAllMulticast: false, txQueueLength: 0 },
  ...{ isOperational: true, kind: "", masterIndex: 0, peerIndex: 0, alias: "", vxlan: undefined, bridge: undefined },
  ...{ port: undefined, ...more },
});
const route: ObservedRoute = {
  destination: { address: OUTSIDE, length: 32 },
  ...{ gateway: parseAddress("192.0.2.254"), outputIndex: 2 },
  ...{ protocol: 3, table: 254, scope: 0, type: 1, isMultipath: false },
};
const eth0 = link(2, "eth0");
const cni0 = link(3, "cni0", { kind: "bridge" });
const veth = link(4, "veth1", { kind: "veth", masterIndex: 3, alias: "cni:cbr0/c1/eth0" });

function knowledge(links: readonly Link[], change: Partial<Knowledge> = {}): Knowledge {
  const observed = { links, addresses: [], routes: [], neighbours: [], forwarding: [] };
  return {
    ...{ table: undefined, desired: undefined, ...podKinds(attachmentOf(undefined), observed), legacy: [] },
    ...{ observed, missingAnswer: () => undefined, services: undefined },
    judge: () => ({ is: "absent" }),
    filtersBridged: () => false,
    ruleset: { bases: [], rulesOf: () => [], elementsOf: () => undefined },
    reservationOf: () => ({ containerId: "c1", ifName: "eth0", namespace: undefined }),
    routeTo: () => route,
    ...change,
  };
}

const fromPod = { destination: OUTSIDE, source: POD, protocol: undefined, port: undefined };
const last = (given: Knowledge) => explainWay(fromPod, given).at(-1);

test("without a node table, follows the packet with the kernel's state only", () => {
  const hops = explainWay(fromPod, knowledge([eth0, cni0, veth]));
  expect(hops[0]).toMatchObject({ at: "address", state: "note" });
  expect(hops.map(({ at }) => at)).toEqual([
    "address",
    "from",
    "route",
    "postrouting",
    "device",
    "neighbour",
    "leaves",
  ]);
  expect(hops.at(-1)).toMatchObject({ state: "arrives" });
});

describe("reports that a pod's packet ends here:", () => {
  const cases: [string, Knowledge, RegExp, string | undefined][] = [
    [
      "no pod has the address",
      knowledge([eth0, cni0, veth], { table: TABLE, reservationOf: () => undefined }),
      /no pod of this node has/,
      undefined,
    ],
    ["the link does not exist", knowledge([eth0, cni0]), /has no link on this node/, undefined],
    [
      "the link is down",
      knowledge([eth0, cni0, { ...veth, isUp: false }]),
      /veth1, which is down/,
      "ip link set veth1 up",
    ],
    [
      "the bridge is down",
      knowledge([eth0, { ...cni0, isUp: false }, veth]),
      /cni0, which is down/,
      "ip link set cni0 up",
    ],
    [
      "the link is not a port",
      knowledge([eth0, cni0, { ...veth, masterIndex: 0 }]),
      /not a port of cni0/,
      "ip link set veth1 master cni0 up",
    ],
    [
      "reverse path filtering refuses the source",
      knowledge([eth0, cni0, veth], { routeTo: () => "EXDEV" }),
      /reverse path filtering of cni0/,
      "weft doctor",
    ],
    [
      "there is no route",
      knowledge([eth0, cni0, veth], { routeTo: () => "ENETUNREACH" }),
      /no route to the destination/,
      "weft doctor",
    ],
    [
      "the uplink is down",
      knowledge([{ ...eth0, isUp: false }, cni0, veth]),
      /eth0, which is down/,
      "ip link set eth0 up",
    ],
  ];
  test.each(cases)("%s", (_name, given, text, remedy) => {
    const hop = last(given);
    expect(hop).toMatchObject({ state: "ends", text: expect.stringMatching(text) });
    expect(hop?.remedy).toBe(remedy);
  });
});

test("reports that rules of iptables-legacy are not read", () => {
  const hops = explainWay(fromPod, knowledge([eth0, cni0, veth], { legacy: [4] }));
  expect(hops.find(({ at }) => at === "forward")).toMatchObject({ state: "note", show: "iptables-legacy -S" });
});

describe("an address of the pods' network", () => {
  const nobody = { ...fromPod, destination: parseAddress("10.244.77.5") };

  test("ends the trace if no node's subnet contains it", () => {
    const hops = explainWay(nobody, knowledge([eth0, cni0, veth], { table: TABLE }));
    expect(hops.at(-1)).toMatchObject({
      at: "subnet",
      state: "ends",
      text: expect.stringMatching(/no node has a subnet/),
    });
  });

  test("is followed if it is the node's own, or there is no node table", () => {
    const own = { ...route, type: 2 };
    const ends = (change: Partial<Knowledge>) =>
      explainWay(nobody, knowledge([eth0, cni0, veth], change)).some(({ state }) => state === "ends");
    expect(ends({ table: TABLE, routeTo: () => own })).toBe(false);
    expect(ends({})).toBe(false);
  });
});
