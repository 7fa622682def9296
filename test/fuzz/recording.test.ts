import { expect, test } from "vitest";
import { NETLINK_NETFILTER, NETLINK_ROUTE } from "../../pkg/netlink/message.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { formatAnswers } from "./recorded.ts";
import { recordNetlink } from "./recording.ts";

const POD = "/run/netns/a";

/** A kernel that answers a datagram of one byte with that many datagrams of the same byte. */
function echoingSystem(): FakeSystem {
  return new FakeSystem({
    environment: { CNI_NETNS: POD },
    namespaces: { [POD]: "4:1", "/run/netns/other": "4:2" },
    netlink: ([count = 0]) => Array.from({ length: count }, () => Uint8Array.of(count)),
  });
}

test("answers are recorded by kind of socket, for each datagram sent", () => {
  const system = echoingSystem();
  const turns = recordNetlink(system);
  const pod = system.openNetlink(NETLINK_ROUTE, system.openNamespace(POD));
  const host = system.openNetlink(NETLINK_ROUTE);
  const another = system.openNetlink(NETLINK_ROUTE, system.openNamespace("/run/netns/other"));
  const netfilter = system.openNetlink(NETLINK_NETFILTER);
  pod.send(Uint8Array.of(1));
  host.send(Uint8Array.of(2));
  expect([host.receive(0), pod.receive(0), host.receive(0)]).toEqual([2, 1, 2].map((byte) => Uint8Array.of(byte)));
  another.send(Uint8Array.of(3));
  netfilter.send(Uint8Array.of(0));
  another.receive(0);
  host.send(Uint8Array.of(1));
  host.receive(0);
  expect(turns).toEqual({
    "route pod": [[[1]]],
    "route host": [[[2], [2]], [[3]], [[1]]],
    "netfilter host": [[]],
  });
  expect(formatAnswers(turns)["route host"]).toEqual([["Ag==", "Ag=="], ["Aw=="], ["AQ=="]]);
});

test("a call receives and closes the same as without a recording", () => {
  const system = echoingSystem();
  recordNetlink(system);
  const socket = system.openNetlink(NETLINK_ROUTE);
  socket.send(Uint8Array.of(1));
  expect(socket.receive(0)).toEqual(Uint8Array.of(1));
  expect(() => socket.receive(0)).toThrow("ETIMEDOUT");
  socket.close();
  expect(system.openCount).toBe(0);
});

test("random bytes are the fake's, whatever was drawn before", () => {
  const system = new FakeSystem();
  system.randomBytes(3);
  recordNetlink(system);
  expect(system.randomBytes(8)).toEqual(new FakeSystem().randomBytes(8));
});
