import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET } from "../netlink/conntrack.ts";
import { decode, type Encodable, type Message, query } from "../netlink/message.ts";
import { deleteConnection, isUdpTo, parseConnection, udpConnections } from "./connection.ts";
import { type ConnectionSelector, connectionDump, connectionFlush } from "./connection-selector.ts";

const message = ({ type, body }: Encodable): Message => ({ type, payload: body, flags: 0, sequence: 0, portId: 0 });
const tracked = message(
  query(
    IPCTNL_MSG_CT_GET,
    "",
    { family: 2 },
    {
      original: {
        ip: { source4: Uint8Array.of(192, 0, 2, 9), destination4: Uint8Array.of(192, 0, 2, 1) },
        protocol: { number: 17, sourcePort: 40_000, destinationPort: 53 },
      },
      reply: { ip: { source4: Uint8Array.of(10, 1, 0, 2), destination4: Uint8Array.of(192, 0, 2, 9) } },
      ...{ id: 7, zone: 3 },
    },
  ),
);

test("dumps UDP connections of a family, filtered by port or reply source if given", () => {
  const asked = (...args: Parameters<typeof udpConnections>) =>
    decode(IPCTNL_MSG_CT_GET, message(udpConnections(...args)));
  const single = asked(6, { destinationPort: 53 });
  expect(single.header.family).toBe(10);
  expect(single.attributes).toMatchObject({
    original: { protocol: { number: 17, destinationPort: 53 } },
    filter: { original: 0x28, reply: 0 },
  });
  const all = asked(4).attributes;
  expect(all).toMatchObject({ original: { protocol: { number: 17 } }, filter: { original: 8, reply: 0 } });
  expect(all.original?.protocol).not.toHaveProperty("destinationPort");
  expect(asked(4, { answeredBy: parseAddress("10.1.0.2") }).attributes).toMatchObject({
    reply: { ip: { source4: Uint8Array.of(10, 1, 0, 2) } },
    filter: { original: 8, reply: 1 },
  });
});

test("recognises UDP connections to a port, and rejects other connections and truncated messages", () => {
  expect(isUdpTo(new Set([52, 53]), tracked)).toBe(true);
  expect(isUdpTo(new Set([52]), tracked)).toBe(false);
  const tcp = query(IPCTNL_MSG_CT_GET, "", {}, { original: { protocol: { number: 6, destinationPort: 53 } } });
  expect(isUdpTo(new Set([53]), message(tcp))).toBe(false);
  for (let length = 0; length < 40; length++) {
    expect(isUdpTo(new Set([53]), { ...tracked, payload: tracked.payload.slice(0, length) })).toBe(false);
  }
});

test("deletes a connection by its original tuple, its zone and its id", () => {
  const connection = parseConnection(tracked);
  if (connection === undefined) throw new Error("not read");
  expect([connection.destination, connection.destinationPort]).toEqual([parseAddress("192.0.2.1"), 53]);
  expect(connection.answeredBy).toEqual(parseAddress("10.1.0.2"));
  const removal = deleteConnection(connection);
  const { original } = decode(IPCTNL_MSG_CT_GET, tracked).attributes;
  expect(decode(IPCTNL_MSG_CT_DELETE, message(removal)).attributes).toMatchObject({ original, id: 7, zone: 3 });
  expect(removal.text).toBe("conntrack -D -p udp --orig-dst 192.0.2.1 --orig-port-dst 53");
});

test("ignores connections without ports", () => {
  const icmp = query(IPCTNL_MSG_CT_GET, "", { family: 2 }, { original: { protocol: { number: 1 } } });
  expect(parseConnection(message(icmp))).toBe(undefined);
});

describe("selectors inside the kernel", () => {
  const dns = { protocol: 17, destinationPort: 53, zone: 0, answeredFromPort: 5353 } as const;
  const asked = (selector: ConnectionSelector) =>
    decode(IPCTNL_MSG_CT_GET, message(connectionDump(selector))).attributes;

  test("IPv4: filters by every given field", () => {
    const [destination, answeredBy] = [parseAddress("10.96.0.10"), parseAddress("10.244.1.2")];
    expect(asked({ ...dns, family: 4, destination, answeredBy })).toMatchObject({
      original: { ip: { destination4: Uint8Array.of(10, 96, 0, 10) }, protocol: { number: 17, destinationPort: 53 } },
      reply: { ip: { source4: Uint8Array.of(10, 244, 1, 2) }, protocol: { number: 17, sourcePort: 5353 } },
      ...{ zone: 0, filter: { original: 0x2a, reply: 0x19 } },
    });
  });
  test("IPv6: sends no addresses, because the kernel inverts their comparison", () => {
    const [destination, answeredBy] = [parseAddress("fd00:96::10"), parseAddress("fd00::2")];
    const { original, reply, filter } = asked({ ...dns, family: 6, destination, answeredBy });
    expect([original?.ip, reply?.ip]).toEqual([undefined, undefined]);
    expect(filter).toEqual({ original: 0x28, reply: 0x18 });
  });
  test("filters unanswered connections", () => {
    expect(asked({ family: 4, protocol: 6, isUnanswered: true })).toMatchObject({ status: 0, statusMask: 2 });
  });
  test("a flush sends an incomplete tuple, which kernels without filtered flushes refuse", () => {
    const flush = connectionFlush({ ...dns, family: 4, destination: parseAddress("10.96.0.10") });
    const { original } = decode(IPCTNL_MSG_CT_DELETE, message(flush)).attributes;
    expect(original?.ip).toEqual({ destination4: Uint8Array.of(10, 96, 0, 10) });
    expect(flush.text).toBe(
      "conntrack -D -f ipv4 -p udp --orig-dst 10.96.0.10 --orig-port-dst 53 --reply-port-src 5353 -w 0",
    );
  });
});
