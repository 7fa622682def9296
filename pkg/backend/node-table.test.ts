import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import {
  formatNodeTable,
  formatStamp,
  type NodeTable,
  parseNodeTable,
  parseStamp,
  UnknownFormatError,
} from "./node-table.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

const table: NodeTable = {
  bootId: "96ea72d0-cac5-4990-b116-72f9ea1457b5",
  generation: 7,
  netConf: '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}',
  node: {
    name: "n1",
    subnets: [parsePrefix("10.244.0.0/24"), parsePrefix("fd00::/64")],
    underlay: {
      ...{ index: 2, mtu: 1500, networks: [parsePrefix("192.0.2.1/24")] },
      local: { 4: parseAddress("192.0.2.1"), 6: parseAddress("2001:db8::1") },
    },
  },
  deviceMacs: new Map([["flannel.1", "0a:00:00:00:00:01"]]),
  formerSubnets: [parsePrefix("10.244.9.0/24")],
  peers: [
    {
      ...{ name: "n2", subnets: [parsePrefix("10.244.1.0/24")], addresses: [parseAddress("192.0.2.2")] },
      ...{ backendType: "vxlan", vni: 7, port: 4789, vtepMacs: { 4: "0a:00:00:00:00:02" } },
    },
    { name: "n3", subnets: [], addresses: [], backendType: undefined },
  ],
};

test("a node table is the same after formatting and parsing", () => {
  const { conf, ...read } = parseNodeTable(bytes(formatNodeTable(table)));
  expect(read).toEqual(table);
  expect(conf.backend).toMatchObject({ type: "vxlan", vni: 1 });
});

test("a stamp is the same after formatting and parsing", () => {
  const stamp = { bootId: table.bootId, generation: 7, backend: "vxlan", devices: ["flannel.1"] } as const;
  expect(parseStamp(bytes(formatStamp(stamp)))).toEqual(stamp);
});

test("refuses an unknown format before parsing anything else", () => {
  expect(() => parseStamp(bytes('{"format":2}'))).toThrow(UnknownFormatError);
  expect(() => parseNodeTable(bytes('{"format":2,"peers":"?"}'))).toThrow("format 2 is unknown to this version");
});

test.each([
  ["a truncated file", formatNodeTable(table).slice(0, 100), 6],
  [
    "a missing node",
    '{"format":1,"bootId":"a","netConf":"{\\"Network\\":\\"10.0.0.0/16\\",\\"Backend\\":{\\"Type\\":\\"vxlan\\"}}"}',
    7,
  ],
  ["a node without an interface", formatNodeTable(table).replace('"index":2', '"index":null'), 7],
  ["an invalid address", formatNodeTable(table).replace("192.0.2.2", "192.0.2.256"), 7],
  ["an invalid configuration", '{"format":1,"bootId":"a","netConf":"{}"}', 7],
])("%s is an error with a CNI code", (_name, text, code) => {
  expect(() => parseNodeTable(bytes(text))).toThrow(expect.objectContaining({ code }));
});
