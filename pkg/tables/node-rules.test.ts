import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix, parseSubnet } from "../ip/prefix.ts";
import { changeTable } from "../nft/change.ts";
import { ruleText } from "../nft/table.ts";
import { dumpOf } from "../nft/table-dump.ts";
import { nodeRules, type Tunnel } from "./node-rules.ts";

const tunnel: Tunnel = { family: 4, port: 8472, vni: 0x12345 };

const rules = (senders: readonly string[], tunnels: readonly Tunnel[] = [tunnel], nonMasquerade: string[] = []) =>
  nodeRules({
    ...{ podRanges: [parseSubnet("10.244.0.0/16")], exempt: [], nonMasquerade: nonMasquerade.map(parsePrefix) },
    ...{ tunnels, senders: senders.map(parseAddress) },
  });

test("accepts VXLAN packets of our network only from nodes", () => {
  const { sets, chains } = rules(["192.0.2.2", "2001:db8::2", "192.0.2.2"]);
  const input = chains.find(({ hook }) => hook === "input");
  expect(input?.rules.map(ruleText)).toEqual([
    'meta nfproto ipv4 meta l4proto udp th dport 8472 @th,96,24 74565 ip saddr != @vxlan-senders4 counter drop comment "VXLAN from nobody\'s node, IPv4"',
  ]);
  expect(sets.find(({ name }) => name === "vxlan-senders4")?.elements).toHaveLength(1);
  expect(sets.some(({ name }) => name === "vxlan-senders6")).toBe(false);
});

test("has a rule for each VTEP, and no chain without VTEPs", () => {
  const names = ({ sets, chains }: ReturnType<typeof rules>) => [
    chains.find(({ hook }) => hook === "input")?.rules.length,
    sets.map(({ name }) => name).filter((name) => name.startsWith("vxlan")),
  ];
  expect(names(rules([], [tunnel, { ...tunnel, vni: 2 }, { ...tunnel, family: 6 }]))).toEqual([
    3,
    ["vxlan-senders4", "vxlan-senders6"],
  ]);
  expect(names(rules(["192.0.2.2"], []))).toEqual([undefined, []]);
});

const texts = (wanted: ReturnType<typeof rules>, held: ReturnType<typeof rules> | undefined) =>
  changeTable(wanted, held === undefined ? [] : dumpOf(held)).map(({ text }) => text);

test("changes one element if one node is added or removed", () => {
  const [two, three] = [rules(["192.0.2.2", "192.0.2.3"]), rules(["192.0.2.2", "192.0.2.3", "192.0.2.4"])];
  expect(texts(three, two)).toEqual(["nft create element inet weft vxlan-senders4 { 192.0.2.4 }"]);
  expect(texts(two, three)).toEqual(["nft delete element inet weft vxlan-senders4 (1 of them)"]);
  expect(texts(two, two)).toEqual([]);
});

test("replaces the table if a rule or a network changes, or if it does not exist", () => {
  const held = rules(["192.0.2.2"]);
  const whole = expect.arrayContaining(["nft delete table inet weft"]);
  expect(texts(held, undefined)).toEqual(whole);
  expect(texts(rules(["192.0.2.2"], [{ ...tunnel, port: 4789 }]), held)).toEqual(whole);
  expect(texts(rules(["192.0.2.2"], [tunnel], ["10.0.0.0/8"]), held)).toEqual(whole);
});
