import { expect, test } from "vitest";
import { query } from "../../pkg/netlink/message.ts";
import { NFT_MSG_NEWGEN, NFT_MSG_NEWRULE } from "../../pkg/netlink/nftables.ts";
import { FakeEventSocket } from "./fake-event-socket.ts";
import { listenToGenerations } from "./generations.ts";

function listen() {
  const socket = new FakeEventSocket();
  const heard: string[] = [];
  listenToGenerations(socket, {
    onChange: () => heard.push("change"),
    onOverrun: () => heard.push("overrun"),
    onBroken: (error) => heard.push(`broken: ${error.message}`),
  });
  return { socket, heard };
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
