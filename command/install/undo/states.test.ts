import { expect, test } from "vitest";
import type { CachedAttachment } from "../../../pkg/attachment/cached.ts";
import { ConfigObject } from "../../../pkg/cni/config.ts";
import { EMPTY_RESULT } from "../../../pkg/cni/result.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { ownerMark } from "../../../pkg/kernel/owner.ts";
import { EMPTY_PORT_MAP, type PortMap } from "../../../pkg/tables/port-mapping.ts";
import { type Circumstances, describeObstacle, type OwnTables, planHandOver } from "./states.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const owner = ownerMark(attachment);
const [FOUR, SIX] = [parseAddress("10.22.0.2"), parseAddress("fd00:22::2")];
const EMPTY: OwnTables = {
  masquerades: [],
  ports: EMPTY_PORT_MAP,
  guards: [],
  firewall: { pods: [], policies: new Map() },
};
const masquerades = [{ owner, address: FOUR, subnet: parsePrefix("10.22.0.0/24") }];
const circumstances: Circumstances = {
  ...{ cached: [], isAlive: () => true, isForeign: () => true },
  ...{ iptables: new Set([4, 6] as const), hasNft: true, hasFirewalld: false },
};
const ports: PortMap = {
  mappings: [
    { owner, host: { protocol: 6, address: undefined, port: 9000 }, target: FOUR, targetPort: 90 },
    { owner, host: { protocol: 6, address: undefined, port: 8080 }, target: FOUR, targetPort: 80 },
    { owner, host: { protocol: 6, address: undefined, port: 8080 }, target: SIX, targetPort: 80 },
  ],
  masquerades: [
    { owner, host: { protocol: 6, address: undefined, port: 8080 }, source: parsePrefix("10.22.0.0/24"), markBit: 7 },
    { owner, host: { protocol: 6, address: undefined, port: 8080 }, source: parsePrefix("127.0.0.0/8"), markBit: 7 },
  ],
};
const cachedWith = (...plugins: Record<string, unknown>[]): CachedAttachment => ({
  ...attachment,
  plugins: plugins.map((values) => new ConfigObject(values)),
  result: { ...EMPTY_RESULT, ips: [{ address: parsePrefix("10.22.0.2/16") }] },
});
const plan = (tables: Partial<OwnTables>, more: Partial<Circumstances> = {}) =>
  planHandOver({ ...EMPTY, ...tables }, { ...circumstances, ...more });
const stateOf = (tables: Partial<OwnTables>, more: Partial<Circumstances> = {}) => plan(tables, more).states[0]?.state;

test("masquerade uses the subnet's length, and iptables by default", () => {
  expect(stateOf({ masquerades })).toMatchObject({
    ...{ part: "masquerade", attachment, backend: "iptables" },
    addresses: [{ address: FOUR, length: 24 }],
  });
});

test.each<[string, Partial<Circumstances>, string]>([
  ["a key of bridge", { cached: [cachedWith({ type: "bridge", ipMasqBackend: "nftables" })] }, "nftables"],
  [
    "a key of flannel's delegate",
    { cached: [cachedWith({ type: "flannel", delegate: { ipMasqBackend: "nftables" } })] },
    "nftables",
  ],
  ["a node without iptables", { iptables: new Set() }, "nftables"],
  ["a configuration without the key", { cached: [cachedWith({ type: "ptp" })] }, "iptables"],
])("masquerade with %s uses the right backend", (_name, more, backend) => {
  expect(stateOf({ masquerades }, more)).toMatchObject({ backend });
});

test("reads ports from the table only, with the sources they masquerade, and reports the unknown order", () => {
  const { states, doubts } = plan({ ports });
  expect(states[0]?.state).toMatchObject({
    ...{ snat: true, masqAll: false, markBit: 7, addresses: [{ length: 24 }, { length: 128 }] },
    ports: [
      { protocol: "tcp", hostPort: 8080, containerPort: 80, hostAddress: undefined },
      { protocol: "tcp", hostPort: 9000, containerPort: 90, hostAddress: { family: 4, value: 0n } },
    ],
  });
  expect(doubts.map(describeObstacle).join()).toMatch(/portmap of container c1.*order/);
});

test("reads ports from the runtime's configuration, in its order and with its conditions", () => {
  const portMappings = [
    { hostPort: 9000, containerPort: 90, protocol: "TCP" },
    { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "0.0.0.0" },
  ];
  const config = { type: "portmap", snat: false, conditionsV4: ["-i", "eth0"], runtimeConfig: { portMappings } };
  const { states, doubts } = plan({ ports }, { cached: [cachedWith({ type: "bridge" }, config)] });
  expect(states[0]?.state).toMatchObject({
    ...{ snat: false, markBit: 13, conditions: { 4: ["-i", "eth0"], 6: [] } },
    addresses: [{ address: FOUR, length: 16 }, { address: SIX }],
    ports: [
      { protocol: "tcp", hostPort: 9000 },
      { hostPort: 8080, hostAddress: { family: 4, value: 0n } },
    ],
  });
  expect(doubts).toEqual([]);
});

test.each<[string, Partial<OwnTables>, Partial<Circumstances>, RegExp]>([
  ["weft's plugin stays", { masquerades }, { isForeign: () => false }, /no other program's bridge or ptp/],
  ["there is no ip6tables", { ports }, { iptables: new Set([4] as const) }, /no ip6tables-save/],
  [
    "nft is configured and missing",
    { masquerades },
    { hasNft: false, cached: [cachedWith({ type: "bridge", ipMasqBackend: "nftables" })] },
    /no nft/,
  ],
  [
    "the mark is shortened",
    { masquerades: masquerades.map((entry) => ({ ...entry, owner: "cni:~0123/c1/eth0" })) },
    {},
    /mark is shortened/,
  ],
  [
    "the configuration is invalid",
    { ports },
    { cached: [cachedWith({ type: "portmap", runtimeConfig: { portMappings: [{}] } })] },
    /protocol/,
  ],
])("reports the part and keeps weft's rules if %s", (_name, tables, more, reason) => {
  const { states, obstacles } = plan(tables, more);
  expect(states).toEqual([]);
  expect(obstacles.map(describeObstacle).join()).toMatch(reason);
});

test("gone attachments need no rules, and attachments of firewalld need none", () => {
  const firewall = { pods: [{ owner, address: FOUR }], policies: new Map() };
  expect(plan({ masquerades }, { isAlive: () => false })).toMatchObject({
    states: [],
    stale: [{ owner, part: "masquerade" }],
  });
  expect(plan({ firewall }, { hasFirewalld: true })).toMatchObject({
    states: [],
    settled: [{ owner, part: "firewall" }],
  });
});

test("firewall uses the administrator's chain and the bridge's policy", () => {
  const firewall = {
    pods: [{ owner, address: FOUR, bridge: "cni0" }],
    policies: new Map([["cni0", "same-bridge"]] as const),
  };
  const cached = [cachedWith({ type: "firewall", iptablesAdminChainName: "SITE" })];
  expect(stateOf({ firewall }, { cached })).toMatchObject({
    ...{ adminChain: "SITE", addresses: [FOUR] },
    policy: { bridge: "cni0", kind: "same-bridge" },
  });
});
