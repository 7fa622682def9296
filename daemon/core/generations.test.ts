import { describe, expect, test } from "vitest";
import { query } from "../../pkg/netlink/message.ts";
import {
  NFPROTO,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSET,
  NFT_MSG_DELTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWGEN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSETELEM,
} from "../../pkg/netlink/nftables.ts";
import { type ChainPlace, placeText, type TablePlace, tablePlaceText } from "../../pkg/nft/ruleset.ts";
import { FakeEventSocket } from "./fake-event-socket.ts";
import { listenToGenerations } from "./generations.ts";

const FOLLOWED = { family: NFPROTO.inet, table: "weft-services" };

function listen() {
  const socket = new FakeEventSocket();
  const heard: string[] = [];
  const chains: string[] = [];
  const tables: string[] = [];
  const listener = {
    onBaseChains: (added: readonly ChainPlace[]) => chains.push(...added.map(placeText)),
    onUnknownChains: () => chains.push("unknown"),
    onTable: (table: TablePlace) => tables.push(tablePlaceText(table)),
    onChange: () => heard.push("change"),
    onOverrun: () => heard.push("overrun"),
    onBroken: (error: Error) => heard.push(`broken: ${error.message}`),
  };
  listenToGenerations(socket, listener, [FOLLOWED]);
  return { socket, heard, chains, tables };
}

const generation = query(NFT_MSG_NEWGEN, "", {}, { id: 7, processId: 1, processName: "firewalld" });
const rule = query(NFT_MSG_NEWRULE, "", { family: 2 }, { table: "kube-proxy", chain: "services" });

test("only a new generation in a datagram counts as a change, at any position", () => {
  const { socket, heard } = listen();
  socket.deliver(rule, rule);
  expect(heard).toEqual([]);
  socket.deliver(generation);
  socket.deliver(rule, generation, rule);
  socket.deliver(rule, rule, generation);
  expect(heard).toEqual(["change", "change", "change"]);
  expect(socket.groups).toEqual([7]);
});

test("an unreadable datagram counts as any change", () => {
  const { socket, heard } = listen();
  socket.deliverBytes(new Uint8Array(20));
  expect(heard).toEqual(["change"]);
});

test("an overrun is distinguished from a broken socket", () => {
  const { socket, heard } = listen();
  socket.fail(105);
  socket.fail(9);
  expect(heard).toEqual(["overrun", expect.stringContaining("broken: recvmsg netlink: bad file descriptor")]);
});

describe("base chains", () => {
  const chain = (name: string, hook?: { readonly number: number; readonly priority: number }) =>
    query(NFT_MSG_NEWCHAIN, "", { family: 2 }, { table: "site", name, ...(hook && { hook }) });

  test("are reported when added, and other chains are not", () => {
    const { socket, heard, chains } = listen();
    chains.length = 0;
    socket.deliver(chain("side"), chain("forward", { number: 2, priority: 0 }), rule);
    expect(chains).toEqual(["ip site forward"]);
    expect(heard).toEqual([]);
  });

  test("are unknown at the start and after lost or unreadable notifications", () => {
    const { socket, chains } = listen();
    expect(chains).toEqual(["unknown"]);
    socket.deliverBytes(new Uint8Array(20));
    socket.fail(105);
    expect(chains).toEqual(["unknown", "unknown", "unknown"]);
  });
});

describe("a watched table", () => {
  const { family, table } = FOLLOWED;
  const inet = { family };

  test.each([
    ["the table", query(NFT_MSG_DELTABLE, "", inet, { name: table })],
    ["a chain", query(NFT_MSG_NEWCHAIN, "", inet, { table, name: "nat" })],
    ["a rule", query(NFT_MSG_DELRULE, "", inet, { table, chain: "nat", handle: 7n })],
    ["a set", query(NFT_MSG_DELSET, "", inet, { table, name: "rows4" })],
    ["an element", query(NFT_MSG_NEWSETELEM, "", inet, { table, set: "rows4", elements: [] })],
  ])("is recognised in notifications of %s, at any position", (_what, message) => {
    const { socket, tables } = listen();
    socket.deliver(message);
    socket.deliver(rule, message, generation);
    expect(tables).toEqual(["inet weft-services", "inet weft-services"]);
  });

  test.each([
    ["another family", query(NFT_MSG_DELTABLE, "", { family: NFPROTO.ip }, { name: table })],
    ["a longer name", query(NFT_MSG_DELTABLE, "", inet, { name: `${table}2` })],
    ["a shorter name", query(NFT_MSG_DELTABLE, "", inet, { name: table.slice(0, -1) })],
    ["another name", query(NFT_MSG_DELTABLE, "", inet, { name: "weft-servicez" })],
    ["no attribute", query(NFT_MSG_DELTABLE, "", inet, {})],
    ["a generation", generation],
  ])("is not recognised in a message with %s", (_what, message) => {
    const { socket, tables } = listen();
    socket.deliver(message, generation);
    expect(tables).toEqual([]);
  });

  test("is reported as changed after lost or unreadable notifications", () => {
    const { socket, tables } = listen();
    socket.deliverBytes(new Uint8Array(20));
    socket.fail(105);
    expect(tables).toHaveLength(2);
  });
});
