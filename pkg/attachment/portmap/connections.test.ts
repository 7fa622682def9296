import { expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { ByteWriter } from "../../netlink/bytes.ts";
import { IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW } from "../../netlink/conntrack.ts";
import {
  decode,
  NETLINK_NETFILTER,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  query,
  splitDatagram,
} from "../../netlink/message.ts";
import { FakeSystem } from "../../sys/fake.ts";
import type { PortMapping } from "../../tables/port-mapping.ts";
import { forgetConnections } from "./connections.ts";

const bytesOf = (text: string) => Uint8Array.from(text.split("."), Number);
/** A tracked connection to a port of the node that a pod answers. */
const connection = (destinationPort: number, destination: string, answeredBy: string, id: number) =>
  query(
    IPCTNL_MSG_CT_NEW,
    "",
    { family: 2 },
    {
      original: {
        ip: { source4: bytesOf("192.0.2.9"), destination4: bytesOf(destination) },
        protocol: { number: 17, sourcePort: 40_000, destinationPort },
      },
      reply: { ip: { source4: bytesOf(answeredBy), destination4: bytesOf("192.0.2.9") } },
      id,
    },
  ).body;

function answer(type: number, sequence: number, payload: Uint8Array): Uint8Array {
  const to = new ByteWriter();
  to.u32(16 + payload.length);
  to.u16(type);
  to.u16(NLM_F_MULTI);
  to.u32(sequence);
  to.u32(1);
  to.bytes(payload);
  return to.finish();
}

/** A kernel that tracks `connections`, all IPv4. Records the families of its dumps, and the deletions. */
function kernel(connections: readonly Uint8Array[]) {
  const deleted: (number | undefined)[] = [];
  const dumps: number[] = [];
  const system = new FakeSystem({
    netlink: (datagram, { protocol }) =>
      splitDatagram(datagram).flatMap((message) => {
        if (protocol !== NETLINK_NETFILTER) return [answer(NLMSG_DONE, message.sequence, new Uint8Array(4))];
        if (message.type === IPCTNL_MSG_CT_DELETE.type) {
          deleted.push(decode(IPCTNL_MSG_CT_GET, message).attributes.id);
          return [answer(NLMSG_ERROR, message.sequence, new Uint8Array(20))];
        }
        const { family } = decode(IPCTNL_MSG_CT_GET, message).header;
        dumps.push(family);
        return [
          ...(family === 2 ? connections : []).map((payload) =>
            answer(IPCTNL_MSG_CT_NEW.type, message.sequence, payload),
          ),
          answer(NLMSG_DONE, message.sequence, new Uint8Array(4)),
        ];
      }),
  });
  return { system, deleted, dumps };
}

const POD = "10.1.0.2";
const mapping = (port: number, target = POD, address?: string): PortMapping => ({
  owner: "mark",
  host: { protocol: 17, address: address === undefined ? undefined : parseAddress(address), port },
  target: parseAddress(target),
  targetPort: port,
});

test("finds connections to 1,000 UDP ports by one dump of each family", () => {
  const ports = Array.from({ length: 1000 }, (_, at) => 20_000 + at);
  const mappings = ports.flatMap((port) => [mapping(port), mapping(port, "fd00::2")]);
  const { system, deleted, dumps } = kernel([
    connection(20_500, "127.0.0.1", "127.0.0.1", 1),
    connection(20_501, "192.0.2.77", "192.0.2.77", 2),
    connection(30_000, "127.0.0.1", "127.0.0.1", 3),
    connection(20_502, "192.0.2.77", "10.1.0.9", 4),
  ]);
  forgetConnections(system, { opened: mappings, answered: [mapping(20_502, "10.1.0.9"), mapping(20_501, "10.1.0.9")] });
  expect(dumps).toEqual([2, 10]);
  expect(deleted).toEqual([1, 4]);
  expect([system.openCount, system.errorOutput]).toEqual([0, ""]);
});

test("deletes only connections to the address of a port with an address", () => {
  const { system, deleted } = kernel([
    connection(53, "192.0.2.1", "192.0.2.1", 1),
    connection(53, "127.0.0.1", "127.0.0.1", 2),
  ]);
  forgetConnections(system, { opened: [mapping(53, POD, "192.0.2.1")] });
  expect(deleted).toEqual([1]);
});

test("sends no request for ports of other protocols", () => {
  const { system, dumps } = kernel([]);
  const tcp = { ...mapping(53), host: { ...mapping(53).host, protocol: 6 } };
  forgetConnections(system, { opened: [tcp], answered: [tcp] });
  expect(dumps).toEqual([]);
});
