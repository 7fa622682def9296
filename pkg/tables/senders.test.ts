import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import type { Message, Request } from "../netlink/message.ts";
import { ruleText } from "../nft/table.ts";
import { dumpOf } from "../nft/table-dump.ts";
import {
  addSender,
  addSenderAddresses,
  addSenders,
  deleteSender,
  deleteSenders,
  sendersIn,
  senderTest,
} from "./senders.ts";
import { type GuardedSender, SENDERS_FAMILIES, sendersTable } from "./senders-table.ts";

const first: GuardedSender = {
  ...{ family: "bridge", owner: "cni:net/a/eth0", port: "veth00000001", mac: "02:00:00:00:00:01", asksDhcp: false },
  addresses: ["10.1.0.2", "fd00:1::2"].map(parseAddress),
};
const second: GuardedSender = { ...first, owner: "cni:net/b/eth0", port: "veth00000002", mac: "02:00:00:00:00:02" };
const texts = (requests: readonly Request[]) => requests.map(({ text }) => text);
const answers = (requests: readonly Request[]): Message[] =>
  requests.map(({ type, flags, body }) => ({ type, flags, sequence: 0, portId: 0, payload: body }));

test("a dual-stack pod is one element for each thing that it may send", () => {
  const mark = 'comment "cni:net/a/eth0"';
  const port = '"veth00000001"';
  const create = "nft create element bridge weft-senders";
  expect(texts(addSender(first))).toEqual([
    `${create} ports { ${port} ${mark} }`,
    `${create} addresses4 { ${port} . 10.1.0.2 ${mark} }`,
    `${create} addresses6 { ${port} . fd00:1::2 ${mark} }`,
    `${create} neighbours6 { ${port} . fe80::ff:fe00:1 ${mark}, ${port} . fd00:1::2 ${mark} }`,
    `${create} targets6 { ${port} . fe80::ff:fe00:1 ${mark}, ${port} . fd00:1::2 ${mark} }`,
    `${create} macs { ${port} . 02:00:00:00:00:01 ${mark} }`,
  ]);
});

test("addresses from DHCP are added to a port that was guarded without them", () => {
  const client = { ...first, addresses: [], asksDhcp: true };
  expect(texts(addSender(client)).at(-1)).toContain("dhcp-clients");
  const whole = texts([...addSender(client), ...addSenderAddresses({ ...client, addresses: first.addresses })]);
  for (const text of ["addresses4", "addresses6", "neighbours6", "targets6"])
    expect(whole.filter((each) => each.includes(` ${text} `)).join(), text).toMatch(/fd00:1::2|10\.1\.0\.2/);
  // The kernel refuses an element that exists.
  expect(whole.filter((each) => each.includes("fe80::"))).toHaveLength(2);
  expect(whole.filter((each) => each.includes(" macs "))).toHaveLength(1);
});

test("packets are judged by the same number of rules for any number of pods", () => {
  for (const family of SENDERS_FAMILIES) {
    const [none, two] = [[], [first, second]].map((senders) => sendersTable(family, senders).chains);
    expect(none).toEqual(two);
  }
  const [chain] = sendersTable("inet", []).chains.filter(({ name }) => name === "ipv4-packets");
  expect(chain?.rules.map(ruleText)).toEqual([
    'meta nfproto ipv4 iifname . ip saddr @addresses4 accept comment "own sources"',
    'counter drop comment "forged IPv4 sources"',
  ]);
});

test("creates a missing table", () => {
  const requests = texts(addSenders("bridge", [], [first]));
  expect(requests[0]).toBe("nft add table bridge weft-senders");
  expect(requests).toEqual(expect.arrayContaining(texts(addSender(first))));
});

test("adds to a table that is as wanted, and replaces a port of the same name", () => {
  const seen = dumpOf(sendersTable("bridge", [first]));
  expect(texts(addSenders("bridge", seen, [second]))).toEqual(texts(addSender(second)));
  const again = texts(addSenders("bridge", seen, [{ ...second, port: first.port }]));
  expect(again.slice(0, 6).every((text) => text.startsWith("nft delete element"))).toBe(true);
});

test("recreates a table of another shape with its elements", () => {
  // These answers lack the kernel's use count.
  const seen = answers(addSenders("bridge", [], [first]));
  const requests = texts(addSenders("bridge", seen, [second]));
  expect(requests[0]).toMatch(/^nft delete table bridge handle/);
  expect(requests.filter((text) => text.includes("veth00000001")).length).toBe(6);
  expect(requests.filter((text) => text.includes("veth00000002")).length).toBe(6);
});

test("removes elements by their keys, and those of an owner", () => {
  const seen = dumpOf(sendersTable("bridge", [first, second]));
  expect(deleteSender(first)).toHaveLength(6);
  expect(texts(deleteSenders("bridge", seen, (owner) => owner === first.owner))).toEqual(texts(deleteSender(first)));
  expect(deleteSenders("bridge", seen, () => false)).toEqual([]);
  expect(deleteSenders("inet", seen, () => true)).toEqual([]);
  expect(sendersIn("bridge", seen)).toEqual(new Set([first.owner, second.owner]));
});

test("a sender is held only with all its elements, in a table with the right rules", () => {
  const table = sendersTable("bridge", [first]);
  expect(senderTest(dumpOf(table))(first)).toBe(true);
  expect(senderTest(dumpOf(table))(second)).toBe(false);
  expect(senderTest(dumpOf(table))({ ...first, family: "inet" })).toBe(false);
  expect(senderTest([])(first)).toBe(false);
  table.sets.forEach(({ name, elements }, at) => {
    if (elements.length === 0) return;
    const sets = table.sets.map((set, index) => (index === at ? { ...set, elements: elements.slice(1) } : set));
    expect(senderTest(dumpOf({ ...table, sets }))(first), name).toBe(false);
  });
  const chains = table.chains.map((chain) => ({ ...chain, rules: chain.rules.slice(1) }));
  expect(senderTest(dumpOf({ ...table, chains }))(first)).toBe(false);
});
