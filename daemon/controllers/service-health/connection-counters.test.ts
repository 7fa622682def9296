import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { type Address, addressToBytes, parseAddress } from "../../../pkg/ip/address.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { type Message, type Query, query } from "../../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWSETELEM } from "../../../pkg/netlink/nftables.ts";
import { frontendKey } from "../../../pkg/services/frontend.ts";
import { connectionCountsDump, readConnectionCounts } from "../../../pkg/services/nftables/connection-counts.ts";
import { Facts } from "../../core/topic.ts";
import { SERVICES_SEEN } from "../facts.ts";
import { registerConnectionCounters } from "./connection-counters.ts";

const ENOENT = 2;

interface Counted {
  readonly address: string;
  readonly port: number;
  readonly connections: number;
}

/** A part of the dump of a set with counters: address . protocol . port, each field padded to 32-bit words. */
function dumped(...counted: readonly Counted[]): Message {
  const elements = counted.map(({ address, port, connections }) => {
    const key = Uint8Array.of(...addressToBytes(parseAddress(address)), 6, 0, 0, 0, port >> 8, port & 0xff, 0, 0);
    const data = { bytes: 60n * BigInt(connections), packets: BigInt(connections) };
    return { key: { value: key }, expression: { kind: "counter", data } } as const;
  });
  const { type, flags, body } = query(
    NFT_MSG_NEWSETELEM,
    "",
    { family: NFPROTO.inet },
    { table: "t", set: "s", elements },
  );
  return { type, flags, sequence: 0, portId: 0, payload: body };
}

test.each<[4 | 6, string]>([
  [4, "10.96.0.1"],
  [6, "fd00::1"],
])("reads the counts of IPv%d frontends", (family, address) => {
  const [count] = readConnectionCounts(dumped({ address, port: 443, connections: 70_000 }), family);
  expect(count).toEqual({ address: parseAddress(address), protocol: 6, port: 443, connections: 70_000 });
  expect(connectionCountsDump(family).text).toBe(`nft list set inet weft-services connections${family}`);
});

/** Services named by the last byte of their address. */
function bench(limit: number, answers: readonly Message[] | undefined) {
  const registry = new Registry();
  const facts = new Facts();
  const names = new Map<string, string>();
  const at = (address: Address) =>
    names.set(frontendKey({ address, protocol: 6, port: 80 }), `ns/s${address.value & 0xffn}`);
  for (let low = 1; low < 9; low++) at(parseAddress(`10.96.0.${low}`));
  const seen = { healthChecks: [], nodePortAddresses: undefined, withoutLocalEndpoints: [] };
  facts.of(SERVICES_SEEN).publish({ ...seen, serviceAt: (key) => names.get(key) });
  let [nowMs, dumps] = [0, 0];
  const dump = async (asked: Query, isWanted: (message: Message) => boolean = () => true) => {
    dumps += 1;
    if (answers === undefined) throw new NetlinkError(asked, ENOENT, undefined, "here");
    // After an interrupted dump the kernel reports the same elements again.
    return asked.text.endsWith("4") ? [...answers, ...answers].filter(isWanted) : [];
  };
  const nftables = { dump } as unknown as Pick<EventedNetlink, "dump">;
  registerConnectionCounters({ ...{ registry, facts, limit, nftables }, clock: { nowMs: () => nowMs } });
  return {
    lines: async () => (await registry.metrics()).split("\n").filter((line) => /^[a-z]/.test(line)),
    dumps: () => dumps,
    later: (ms: number) => {
      nowMs += ms;
    },
  };
}

test("the Services with the most connections have a counter each, and all together have one", async () => {
  const counts = [5, 9, 0, 7].map((connections, at) => ({ address: `10.96.0.${at + 1}`, port: 80, connections }));
  const { lines, dumps, later } = bench(2, [dumped(...counts.slice(0, 2)), dumped(...counts.slice(2))]);
  const expected = [
    'weft_service_connections_total{namespace="ns",service="s2"} 9',
    'weft_service_connections_total{namespace="ns",service="s4"} 7',
    "weft_services_connections_total 21",
  ];
  expect(await lines()).toEqual(expected);
  await lines();
  // Both families are read once: a second scrape within the time gets the same counts.
  expect(dumps()).toBe(2);
  later(5000);
  expect(await lines()).toEqual(expected);
  expect(dumps()).toBe(4);
});

test("counts no connections without a table", async () => {
  expect(await bench(2, undefined).lines()).toEqual(["weft_services_connections_total 0"]);
});
