import { expect, test } from "vitest";
import { desiredState } from "../../../pkg/backend/desired.ts";
import { parseNetConf } from "../../../pkg/backend/net-conf.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { toJson } from "../../core/debug-json.ts";
import { debugState } from "./debug-state.ts";

const EMPTY: KernelSnapshot = { links: [], addresses: [], routes: [], neighbours: [], forwarding: [] };

test("has the reason for waiting before the first pass", () => {
  expect(JSON.parse(toJson(debugState(undefined, EMPTY, "not ready\n")))).toEqual({
    target: null,
    reason: "not ready\n",
  });
});

test("a missing route is in the difference, as a command, and foreign routes are not shown", () => {
  const node = {
    name: "n1",
    subnets: [parsePrefix("10.244.1.0/24")],
    underlay: {
      index: 2,
      mtu: 1500,
      local: { 4: parseAddress("192.0.2.1") },
      networks: [parsePrefix("192.0.2.1/24")],
    },
  };
  const peer = {
    name: "n2",
    subnets: [parsePrefix("10.244.2.0/24")],
    addresses: [parseAddress("192.0.2.2")],
    backendType: "host-gw",
  };
  const conf = parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}');
  const target = { node, peers: [peer], desired: desiredState(conf, node, [peer], new Map()) };
  const stranger = {
    destination: parsePrefix("198.51.100.0/24"),
    table: 254,
    type: 1,
    protocol: 3,
    isMultipath: false,
  };
  const observed = { ...EMPTY, routes: [{ ...stranger, isOnlink: false }] } as unknown as KernelSnapshot;
  const shown = JSON.parse(toJson(debugState(target, observed, "")));
  expect(shown).toMatchObject({
    node: { name: "n1", subnets: ["10.244.1.0/24"] },
    peers: [{ name: "n2", addresses: ["192.0.2.2"] }],
    desired: { routes: [{ destination: "10.244.2.0/24", gateway: "192.0.2.2" }] },
    observed: { routes: [] },
    difference: { requests: ["ip route add 10.244.2.0/24 via 192.0.2.2 dev index 2 proto 119"], conflicts: [] },
  });
  // The name for each entry of the data path is for programs.
  expect(shown.desired).not.toHaveProperty("entryPeers");
});
