import { expect, test } from "vitest";
import { addressToBytes, parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { addAddress } from "../../../pkg/kernel/address.ts";
import { IPCTNL_MSG_CT_GET } from "../../../pkg/netlink/conntrack.ts";
import { type Encodable, type Message, query } from "../../../pkg/netlink/message.ts";
import type { PortMapping } from "../../../pkg/tables/port-mapping.ts";
import { forgetEarlierConnections } from "./earlier-connections.ts";

const asMessage = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });
const bytes = (text: string) => addressToBytes(parseAddress(text));

/** A tracked connection to `destination`, as the kernel reports it; `by` answers it. */
const tracked = (destination: string, by: string, destinationPort = 53) =>
  asMessage(
    query(
      IPCTNL_MSG_CT_GET,
      "",
      { family: 2 },
      {
        original: { ip: { destination4: bytes(destination) }, protocol: { number: 17, destinationPort } },
        reply: { ip: { source4: bytes(by) }, protocol: { number: 17 } },
      },
    ),
  );

const mapping = (protocol: number, address?: string): PortMapping => ({
  owner: "cni:net/a/eth0",
  host: { protocol, address: address === undefined ? undefined : parseAddress(address), port: 53 },
  target: parseAddress("10.22.0.2"),
  targetPort: 53,
});

async function forgotten(mappings: readonly PortMapping[]): Promise<string[]> {
  const sent: string[] = [];
  const connections = [
    tracked("192.0.2.1", "192.0.2.1"),
    tracked("127.0.0.1", "127.0.0.1"),
    // Already translated.
    tracked("192.0.2.1", "10.22.0.2"),
    tracked("198.51.100.7", "198.51.100.7"),
    tracked("192.0.2.1", "192.0.2.1", 5353),
  ];
  const own = asMessage(addAddress({ index: 2, prefix: parsePrefix("192.0.2.1/24") }));
  await forgetEarlierConnections(
    { dump: async () => [own] },
    {
      dump: async (_request, isWanted = () => true) => connections.filter(isWanted),
      exchange: async (requests) => {
        sent.push(...requests.map(({ text }) => text));
        return [];
      },
    },
    mappings,
  );
  return sent.map((text) => / (\S+) --orig-port-dst 53$/.exec(text)?.[1] ?? text);
}

test("deletes connections to the node's own addresses, except those that the pod answers", async () => {
  expect(await forgotten([mapping(17)])).toEqual(["192.0.2.1", "127.0.0.1"]);
  expect(await forgotten([mapping(17, "198.51.100.7")])).toEqual(["198.51.100.7"]);
});

test("does not delete TCP connections, which clients re-establish", async () => {
  expect(await forgotten([mapping(6)])).toEqual([]);
});
