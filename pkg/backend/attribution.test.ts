import { expect, test } from "vitest";
import { VTEP_ALIAS } from "../footprint.ts";
import { addressToBytes, parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { deleteLink, type Link } from "../kernel/link.ts";
import { deleteForwarding, deleteNeighbour } from "../kernel/neighbour.ts";
import { addRoute, deleteRoute } from "../kernel/route.ts";
import type { VtepDevice } from "../kernel/vtep-device.ts";
import { planDataPath } from "../reconcile/data-path.ts";
import { attribution } from "./attribution.ts";
import { desiredState } from "./desired.ts";
import { parseNetConf } from "./net-conf.ts";
import type { LocalNode } from "./node.ts";
import type { VxlanPeer } from "./vxlan/peer.ts";

const conf = parseNetConf(
  JSON.stringify({
    ...{ Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00:10:244::/56" },
    Backend: { Type: "vxlan" },
  }),
);
const node: LocalNode = {
  name: "n0",
  subnets: [parsePrefix("10.244.0.0/24"), parsePrefix("fd00:10:244::/64")],
  underlay: {
    ...{ index: 2, mtu: 1500, networks: [parsePrefix("192.0.2.254/24")] },
    local: { 4: parseAddress("192.0.2.254"), 6: parseAddress("2001:db8::254") },
  },
};

/**
 * Has the subnet `10.244.N.0/24` and the address `192.0.2.N`. The texts of peer 1's entries are prefixes of peer 12's.
 */
const peer = (number: number, more: Partial<VxlanPeer> = {}): VxlanPeer => ({
  name: `n${number}`,
  subnets: [parsePrefix(`10.244.${number}.0/24`), parsePrefix(`fd00:10:244:${number}::/64`)],
  addresses: [parseAddress(`192.0.2.${number}`), parseAddress(`2001:db8::${number}`)],
  backendType: "vxlan",
  vtepMacs: {
    4: `0a:00:00:00:04:${String(number).padStart(2, "0")}`,
    6: `0a:00:00:00:06:${String(number).padStart(2, "0")}`,
  },
  ...more,
});
const peers = [peer(1), peer(12), peer(2, { backendType: "host-gw", vtepMacs: {} })];
const desired = desiredState(conf, node, peers, new Map());

const links = (desired.dataPath.devices as readonly VtepDevice[]).map(
  ({ name, vni, port, local, mac, mtu }, at): Link => {
    const bytes = addressToBytes(local);
    const device = { vni, port, link: 2, learning: 0, ...(local.family === 4 ? { local: bytes } : { local6: bytes }) };
    return {
      ...{ index: at + 7, name, mtu, mac, isUp: true, isPromiscuous: false, isAllMulticast: false, txQueueLength: 0 },
      ...{ isOperational: true, kind: "vxlan", masterIndex: 0, peerIndex: 0, alias: VTEP_ALIAS },
      ...{ bridge: undefined, port: undefined, vxlan: device as NonNullable<Link["vxlan"]> },
    };
  },
);
const empty = { links, addresses: [], routes: [], neighbours: [], forwarding: [] };

test("attributes every entry to its peer, even if one entry's text is a prefix of another's", () => {
  const peerOf = attribution(desired, { links });
  const { requests } = planDataPath(desired.dataPath, empty);
  const owned = requests.filter(({ object }) => object.kind !== "address");
  const words = {
    n1: /10\.244\.1\.0|fd00:10:244:1::|0a:00:00:00:0[46]:01/,
    n12: /10\.244\.12\.0|fd00:10:244:12::|0a:00:00:00:0[46]:12/,
    n2: /10\.244\.2\.0|fd00:10:244:2::/,
  };
  const counts = Object.entries(words).map(([name, pattern]) => {
    const own = owned.filter(({ object }) => peerOf(object) === name);
    for (const { text } of own) expect(text).toMatch(pattern);
    return own.length;
  });
  // A route and a neighbour for each subnet, a forwarding entry for each underlay family. host-gw has only a plain IPv4
  // route.
  expect(counts).toEqual([6, 6, 1]);
  expect(owned).toHaveLength(13);
});

test("attributes the temporary route to an IPv6 gateway to the peer, too", () => {
  const peerOf = attribution(desired, { links });
  const gateway = { destination: parsePrefix("fd00:10:244:12::/128"), outputIndex: 8, protocol: 119 };
  expect([addRoute(gateway), deleteRoute(gateway)].map(({ object }) => peerOf(object))).toEqual(["n12", "n12"]);
});

test("attributes this node's own objects and obsolete entries to no peer", () => {
  const peerOf = attribution(desired, { links });
  const own = [
    deleteLink("flannel.1"),
    deleteRoute({ destination: parsePrefix("10.244.9.0/24") }),
    deleteRoute({ destination: parsePrefix("10.244.1.0/24"), priority: 50 }),
    deleteNeighbour({ index: 99, address: parseAddress("10.244.1.0"), mac: "" }),
    deleteForwarding({ index: 7, mac: "0a:00:00:00:00:99" }),
  ];
  expect(own.map(({ object }) => peerOf(object))).toEqual(own.map(() => undefined));
});

test("builds the index of objects once, on first use", () => {
  let reads = 0;
  const counted = {
    get links() {
      reads += 1;
      return links;
    },
  };
  const peerOf = attribution(desired, counted);
  expect(reads).toBe(0);
  peerOf({ kind: "link", key: "flannel.1" });
  const afterOne = reads;
  for (let at = 0; at < 100; at++) peerOf({ kind: "link", key: `${at}` });
  expect(afterOne).toBeGreaterThan(0);
  expect(reads).toBe(afterOne);
});
