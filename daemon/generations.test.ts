import { expect, test } from "vitest";
import { request } from "../pkg/netlink/message.ts";
import { NFT_MSG_NEWGEN, NFT_MSG_NEWRULE } from "../pkg/netlink/nftables.ts";
import { FakeEventSocket } from "./fake-event-socket.ts";
import { listenToGenerations } from "./generations.ts";

const OWN_PORT = 4242;

function listen(ownPort = OWN_PORT) {
  const socket = new FakeEventSocket();
  const heard: string[] = [];
  listenToGenerations(socket, {
    ownPort: () => ownPort,
    onChange: (program) => heard.push(program),
    onOverrun: () => heard.push("overrun"),
    onBroken: (error) => heard.push(`broken: ${error.message}`),
  });
  return { socket, heard };
}

const generation = request(NFT_MSG_NEWGEN, "", {}, { id: 7, processId: 1, processName: "firewalld" });
const rule = request(NFT_MSG_NEWRULE, "", { family: 2 }, { table: "kube-proxy", chain: "services" });

test("of what nftables announces only a new generation counts, with the name of who made it", () => {
  const { socket, heard } = listen();
  socket.deliver(rule, rule);
  expect(heard).toEqual([]);
  socket.deliver(generation);
  expect(heard).toEqual(["firewalld"]);
  expect(socket.groups).toEqual([7]);
});

test("our own commits are no news, those of a process whose port is 0 are", () => {
  const { socket, heard } = listen();
  socket.deliverFrom(OWN_PORT, generation);
  expect(heard).toEqual([]);
  socket.deliverFrom(OWN_PORT + 1, generation);
  expect(heard).toHaveLength(1);
  const unknown = listen(0);
  unknown.socket.deliverFrom(0, generation);
  expect(unknown.heard).toHaveLength(1);
});

test("an overrun and a broken socket are told apart", () => {
  const { socket, heard } = listen();
  socket.fail(105);
  socket.fail(9);
  expect(heard).toEqual(["overrun", expect.stringContaining("broken: recvmsg netlink: bad file descriptor")]);
});
