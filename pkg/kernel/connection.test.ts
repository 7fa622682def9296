import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET } from "../netlink/conntrack.ts";
import { decode, type Message, type Request, request } from "../netlink/message.ts";
import { connectionsAnsweredBy, connectionsToPort, deleteConnection, parseConnection } from "./connection.ts";

const message = ({ type, body }: Request): Message => ({ type, payload: body, flags: 0, sequence: 0, portId: 0 });
const tracked = message(
  request(
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

test("the kernel is asked for UDP connections to a port, or answered by an address, and for no others", () => {
  const byPort = decode(IPCTNL_MSG_CT_GET, message(connectionsToPort(6, 53)));
  expect(byPort.header.family).toBe(10);
  expect(byPort.attributes).toMatchObject({
    original: { protocol: { number: 17, destinationPort: 53 } },
    filter: { original: 0x28, reply: 0 },
  });
  const byAddress = decode(IPCTNL_MSG_CT_GET, message(connectionsAnsweredBy(parseAddress("10.1.0.2"))));
  expect(byAddress.attributes).toMatchObject({
    reply: { ip: { source4: Uint8Array.of(10, 1, 0, 2) }, protocol: { number: 17 } },
    filter: { original: 0, reply: 9 },
  });
});

test("a connection is removed by all that names it: its first direction, its zone and its number", () => {
  const connection = parseConnection(tracked);
  if (connection === undefined) throw new Error("not read");
  expect([connection.destination, connection.destinationPort]).toEqual([parseAddress("192.0.2.1"), 53]);
  const removal = deleteConnection(connection);
  const { original } = decode(IPCTNL_MSG_CT_GET, tracked).attributes;
  expect(decode(IPCTNL_MSG_CT_DELETE, message(removal)).attributes).toMatchObject({ original, id: 7, zone: 3 });
  expect(removal.text).toBe("conntrack -D -p udp --orig-dst 192.0.2.1 --orig-port-dst 53");
});

test("what has no ports is passed over", () => {
  const icmp = request(IPCTNL_MSG_CT_GET, "", { family: 2 }, { original: { protocol: { number: 1 } } });
  expect(parseConnection(message(icmp))).toBe(undefined);
});
