import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { decode } from "../netlink/message.ts";
import { NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM } from "../netlink/nftables.ts";
import { changeTable } from "./change.ts";
import type { NftSet } from "./set.ts";
import type { Table } from "./table.ts";
import { dumpOf } from "./table-dump.ts";

const table = (...sets: NftSet[]): Table => ({
  ...{ family: "inet", name: "t", comment: "a test", chains: [] },
  sets,
});

/** A map from ports to addresses. */
const ports = (...elements: (readonly [port: number, target: string])[]): NftSet => ({
  ...{ kind: "tuples", name: "ports", comment: "ports", fields: ["inet_service"], data: ["ipv4_addr"] },
  elements: elements.map(([port, target]) => ({ values: [port], data: [parseAddress(target)] })),
});

/** A set of sources, each with a range of destinations. */
const pairs = (destination: string): NftSet => ({
  ...{ kind: "pairs", name: "pairs", comment: "pairs", family: 4 },
  elements: [{ source: parseAddress("10.0.0.1"), destination: parsePrefix(destination) }],
});

function sent(wanted: Table, held: Table) {
  return changeTable(wanted, dumpOf(held)).map((request) => {
    const message = { type: request.type, flags: 0, sequence: 0, portId: 0, payload: request.body };
    const isDeletion = request.type === NFT_MSG_DELSETELEM.type;
    const type = isDeletion ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM;
    expect(request.type).toBe(type.type);
    const { elements = [] } = decode(type, message).attributes;
    return `${isDeletion ? "-" : "+"}${elements.length}`;
  });
}

test("sends nothing if the kernel has the same table", () => {
  expect(sent(table(ports([80, "10.0.0.1"])), table(ports([80, "10.0.0.1"])))).toEqual([]);
  expect(sent(table(pairs("10.1.0.0/16")), table(pairs("10.1.0.0/16")))).toEqual([]);
});

test("replaces a map element whose data differs, and no others", () => {
  const wanted = table(ports([80, "10.0.0.1"], [81, "10.0.0.2"]));
  expect(sent(wanted, table(ports([80, "10.0.0.9"], [81, "10.0.0.2"])))).toEqual(["-1", "+1"]);
});

test("replaces a range with the same start and another end", () => {
  expect(sent(table(pairs("10.1.0.0/16")), table(pairs("10.1.0.0/24")))).toEqual(["-1", "+1"]);
});
