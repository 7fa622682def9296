import { describe, expect, test } from "vitest";
import { query } from "../../pkg/netlink/message.ts";
import { NFT_MSG_NEWCHAIN, NFT_MSG_NEWGEN, NFT_MSG_NEWRULE } from "../../pkg/netlink/nftables.ts";
import { placeText } from "../../pkg/nft/ruleset.ts";
import { FakeEventSocket } from "./fake-event-socket.ts";
import { listenToGenerations } from "./generations.ts";

function listen() {
  const socket = new FakeEventSocket();
  const heard: string[] = [];
  const chains: string[] = [];
  listenToGenerations(socket, {
    onBaseChains: (added) => chains.push(...added.map(placeText)),
    onUnknownChains: () => chains.push("unknown"),
    onChange: () => heard.push("change"),
    onOverrun: () => heard.push("overrun"),
    onBroken: (error) => heard.push(`broken: ${error.message}`),
  });
  return { socket, heard, chains };
}

const generation = query(NFT_MSG_NEWGEN, "", {}, { id: 7, processId: 1, processName: "firewalld" });
const rule = query(NFT_MSG_NEWRULE, "", { family: 2 }, { table: "kube-proxy", chain: "services" });

test("of what nftables announces only a new generation counts, wherever it stands", () => {
  const { socket, heard } = listen();
  socket.deliver(rule, rule);
  expect(heard).toEqual([]);
  socket.deliver(generation);
  socket.deliver(rule, generation, rule);
  socket.deliver(rule, rule, generation);
  expect(heard).toEqual(["change", "change", "change"]);
  expect(socket.groups).toEqual([7]);
});

test("what cannot be read may be anything", () => {
  const { socket, heard } = listen();
  socket.deliverBytes(new Uint8Array(20));
  expect(heard).toEqual(["change"]);
});

test("an overrun and a broken socket are told apart", () => {
  const { socket, heard } = listen();
  socket.fail(105);
  socket.fail(9);
  expect(heard).toEqual(["overrun", expect.stringContaining("broken: recvmsg netlink: bad file descriptor")]);
});

describe("base chains", () => {
  const chain = (name: string, hook?: { readonly number: number; readonly priority: number }) =>
    query(NFT_MSG_NEWCHAIN, "", { family: 2 }, { table: "site", name, ...(hook && { hook }) });

  test("that were added are told, and other chains are not", () => {
    const { socket, heard, chains } = listen();
    chains.length = 0;
    socket.deliver(chain("side"), chain("forward", { number: 2, priority: 0 }), rule);
    expect(chains).toEqual(["ip site forward"]);
    expect(heard).toEqual([]);
  });

  test("may be unknown at the start, and after anything was lost or unreadable", () => {
    const { socket, chains } = listen();
    expect(chains).toEqual(["unknown"]);
    socket.deliverBytes(new Uint8Array(20));
    socket.fail(105);
    expect(chains).toEqual(["unknown", "unknown", "unknown"]);
  });
});
