import { expect, test } from "vitest";
import { parsePrefix } from "../pkg/ip/prefix.ts";
import { addAddress } from "../pkg/kernel/address.ts";
import { changeLink, deleteLink } from "../pkg/kernel/link.ts";
import { addRoute, deleteRoute } from "../pkg/kernel/route.ts";
import { ByteWriter } from "../pkg/netlink/bytes.ts";
import { AF_BRIDGE, AF_INET, RTM_NEWLINK } from "../pkg/netlink/link.ts";
import { type Message, type Request, request, writeRequest } from "../pkg/netlink/message.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../pkg/netlink/neighbour.ts";
import { SystemError } from "../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../pkg/sys/event-netlink.ts";
import { type Interest, listenToKernel, reasonToCompare } from "./notifications.ts";

const PROTOCOL = 88;
const UNDERLAY = 2;
const VTEP = 7;
const POD = 20;
const OWN_PORT = 4242;

const interest: Interest = {
  linkNames: new Set(["eth0", "flannel.1"]),
  linkIndexes: new Set([UNDERLAY, VTEP]),
  deviceIndexes: new Set([VTEP]),
  destinations: new Set(["10.244.2.0/24"]),
  routeProtocol: PROTOCOL,
  ownPort: OWN_PORT,
};

/** A notification has the layout of the request that asks for the change. */
function notification({ type, body }: Request, portId = 0): Message {
  return { type, flags: 0, sequence: 0, portId, payload: body };
}

const link = (index: number, ifname: string) => request(RTM_NEWLINK, "", { index }, { ifname });
const neighbour = (index: number, family: number, type = RTM_NEWNEIGH) => request(type, "", { index, family }, {});
const address = (index: number) => addAddress({ index, prefix: parsePrefix("192.0.2.1/24") });
const route = (destination: string, protocol: number) => ({ destination: parsePrefix(destination), protocol });

test.each<[string, Request, string | undefined]>([
  ["the underlay's link", link(UNDERLAY, "eth0"), "link eth0"],
  ["a device of ours", link(VTEP, "flannel.1"), "link flannel.1"],
  ["a device of ours made anew under another index", link(99, "flannel.1"), "link flannel.1"],
  ["the removal of a device of ours", deleteLink(VTEP), "link "],
  ["a pod's veth", link(POD, "veth12345678"), undefined],
  ["a renamed pod's veth", changeLink(POD, { up: true }), undefined],
  ["an address of the underlay", address(UNDERLAY), "address"],
  ["an address of a pod's bridge", address(POD), undefined],
  ["a route of ours removed", deleteRoute(route("10.244.9.0/24", PROTOCOL)), "route"],
  ["a foreign route in the place of ours", addRoute(route("10.244.2.0/24", 3)), "route"],
  ["a foreign route elsewhere", addRoute(route("198.51.100.0/24", 3)), undefined],
  ["a neighbour on a device of ours", neighbour(VTEP, AF_INET), "neighbour"],
  ["a forwarding entry removed", neighbour(VTEP, AF_BRIDGE, RTM_DELNEIGH), "neighbour"],
  ["a neighbour on the underlay", neighbour(UNDERLAY, AF_INET), undefined],
])("%s: %o calls for %s", (_name, sent, expected) => {
  expect(reasonToCompare(notification(sent), interest)).toBe(expected);
});

test("the echo of our own request calls for nothing", () => {
  const sent = deleteRoute(route("10.244.2.0/24", PROTOCOL));
  expect(reasonToCompare(notification(sent, OWN_PORT), interest)).toBeUndefined();
  expect(reasonToCompare(notification(sent, 1), interest)).toBe("route");
  expect(reasonToCompare(notification(sent, 0), { ...interest, ownPort: 0 })).toBe("route");
});

class FakeSocket implements EventNetlinkSocket {
  readonly groups: number[] = [];
  #onDatagram: (datagram: Uint8Array) => void = () => undefined;
  #onError: (error: SystemError) => void = () => undefined;

  send(): void {
    throw new Error("nothing is to be sent here");
  }
  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.#onDatagram = listener;
  }
  onError(listener: (error: SystemError) => void): void {
    this.#onError = listener;
  }
  addMembership(group: number): void {
    this.groups.push(group);
  }
  setReceiveBufferBytes(): void {}
  close(): void {}

  deliver(...requests: Request[]): void {
    const writer = new ByteWriter();
    for (const one of requests) writeRequest(writer, one, 0, 0);
    this.#onDatagram(writer.finish());
  }
  deliverBytes(bytes: Uint8Array): void {
    this.#onDatagram(bytes);
  }
  fail(errno: number): void {
    this.#onError(new SystemError("recvmsg", "netlink", errno));
  }
}

function listen(known: Interest | undefined) {
  const socket = new FakeSocket();
  const heard: string[] = [];
  listenToKernel(socket, {
    interest: () => known,
    onChange: (reason) => heard.push(reason),
    onOverrun: () => heard.push("overrun"),
    onBroken: (error) => heard.push(`broken: ${error.message}`),
  });
  return { socket, heard };
}

test("each notification of a datagram is looked at", () => {
  const { socket, heard } = listen(interest);
  socket.deliver(link(POD, "veth12345678"), link(UNDERLAY, "eth0"), address(UNDERLAY));
  expect(heard).toEqual(["link eth0", "address"]);
  expect(socket.groups).toEqual([1, 3, 5, 7, 9, 11]);
});

test("while nothing is programmed, everything counts", () => {
  const { socket, heard } = listen(undefined);
  socket.deliver(link(POD, "veth12345678"));
  expect(heard).toEqual(["kernel"]);
});

test("a datagram that cannot be read counts as a change", () => {
  const { socket, heard } = listen(interest);
  socket.deliverBytes(Uint8Array.of(255, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
  expect(heard).toEqual(["unreadable notification"]);
});

test("an overrun and a broken socket are told apart", () => {
  const { socket, heard } = listen(interest);
  socket.fail(105);
  socket.fail(9);
  expect(heard).toEqual(["overrun", expect.stringContaining("broken: recvmsg netlink: bad file descriptor")]);
});
